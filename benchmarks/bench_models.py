"""How good and how fast is every pair of a detector and an embedder that is here, on labelled photographs?

    python benchmarks/bench_models.py LFW [--detectors NAME...] [--embedders NAME...] [--folds 10] [--json]
    python benchmarks/bench_models.py LFW --speed [--photographs 8]

LFW is a folder of NAME/NAME_0001.jpg with a pairs.txt. Accuracy is that of LFW's protocol over the folds (`--folds` takes the
first ones); TAR is that of all photographs of these pairs compared with each other, at FAR 1e-3 and 1e-4, and its difference
from that of the first detector with the same embedder, both with 95% intervals from drawing people anew, the same drawings for
all. A detector NAME+onet has its landmarks from O-Net, as by default; NAME has its own. "No face" counts photographs.
Milliseconds are for a photograph that is decoded already: finding the faces, cutting out one and embedding it, on one thread;
all pairs take turns on `--photographs`, five times, and the best of each counts. `--speed` measures nothing else, in a few
seconds, so that it can be done while nothing else runs. The table is in Markdown, with the surest at FAR 1e-4 first.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from vultus.cli.evaluate_faces import FaceReader
from vultus.configs import data_folder
from vultus.configs.schema import Config, Detect, Models
from vultus.evaluation import pairs
from vultus.evaluation.trials import MISSED, all_against_all, interval, tar_at, tar_drawn
from vultus.evaluation.verification import verification
from vultus.evaluation.work import WorkFile
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face
from vultus.stages import photo
from vultus.stages.align import crop
from vultus.stages.detector import look, open_detector
from vultus.stages.embed import vectors_of
from vultus.stages.landmarks import open_landmarks, relocated
from vultus.weights import Registry, open_embedder


def here(kind: str) -> list[str]:
    return [row.name for row in Registry(data_folder()).status() if row.kind == kind and row.state == "ok"]


def detectors_here() -> list[str]:
    """The default one first, by itself and with O-Net's landmarks."""
    first = Models().detector
    return [first, *([f"{first}+onet"] if "mtcnn_onet" in here("part") else []), *(set(here("detector")) - {first})]


def configured(detector: str, embedder: str) -> Config:
    name, _, landmarks = detector.partition("+")
    detect = Detect(landmarks="onet" if landmarks == "onet" else "own")
    return Config(models=Models(detector=name, embedder=embedder), detect=detect)


class Finding:
    """A detector with the landmarks that are configured."""

    def __init__(self, config: Config) -> None:
        self._detector, self._onet = open_detector(config), open_landmarks(config)
        self._side = config.detect.photo_max_side

    def faces(self, picture: np.ndarray) -> list[Face]:
        image = Image(picture)
        found = look(self._detector, image, self._side)
        return found if self._onet is None else relocated(self._onet, image, found)


def speed(paths: list[Path], detectors: list[str], embedders: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of each detector for a photograph, and of each embedder for a face."""
    config = Config()
    images = [photo.decode(path.read_bytes(), config.decode) for path in paths]
    finders = {name: Finding(configured(name, embedders[0])) for name in detectors}
    registry = Registry(data_folder())
    engines = {name: open_embedder(registry.resolve(name, "embedder").path, threads=1) for name in embedders}
    finding, embedding = dict.fromkeys(detectors, np.inf), dict.fromkeys(embedders, np.inf)
    chips = []
    for image in images:
        found = finders[detectors[0]].faces(image)
        if found:
            chips.append(crop(image, found[0].landmarks)[None])
    for _ in range(5):
        for name, finder in finders.items():
            start = time.perf_counter()
            for image in images:
                finder.faces(image)
            finding[name] = min(finding[name], (time.perf_counter() - start) * 1e3 / len(images))
        for name, engine in engines.items():
            start = time.perf_counter()
            for chip in chips:
                vectors_of(engine, chip)
            embedding[name] = min(embedding[name], (time.perf_counter() - start) * 1e3 / len(chips))
    return finding, embedding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--detectors", nargs="+", default=None)
    parser.add_argument("--embedders", nargs="+", default=None)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--photographs", type=int, default=30, help="of which the milliseconds are measured")
    parser.add_argument("--speed", action="store_true", help="the milliseconds alone")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy.work"), help="keeps faces and vectors")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    detectors, embedders = given.detectors or detectors_here(), given.embedders or here("embedder")
    listed = pairs.read(given.lfw / "pairs.txt")
    fold = np.zeros(len(listed.same), np.int64) if listed.fold is None else listed.fold
    chosen = fold < given.folds
    used, numbers = np.unique(listed.pairs[chosen], return_inverse=True)
    paths = [pairs.locate(given.lfw, listed.photos[at]) for at in used.tolist()]
    finding, embedding = speed(paths[: given.photographs], detectors, embedders)
    if given.speed:
        print(json.dumps({"photographs": given.photographs, "ms": finding | embedding}))
        return
    rows = []
    drawn: dict[tuple[str, float], np.ndarray] = {}
    for detector in detectors:
        for embedder in embedders:
            config = configured(detector, embedder)
            with WorkFile(given.work) as work, FaceReader(config, data_folder(), work) as reader:
                judged = reader.judged(paths, lambda _done, _all: None)
            scores = judged.similarities(numbers.reshape(-1, 2), MISSED)
            people = listed.people[used]
            one = verification(scores, listed.same[chosen], people[numbers.reshape(-1, 2)], fold[chosen], given.rounds)
            every = all_against_all(judged.vectors, people, 0.02)
            tar = {}
            for far in (1e-3, 1e-4):
                of = tar_drawn(every, far, given.rounds)
                away = interval(of - drawn.setdefault((embedder, far), of))
                tar[far] = (tar_at(every, far), interval(of), away)
            rows.append(
                {
                    "detector": detector,
                    "embedder": embedder,
                    "accuracy": one.accuracy.mean,
                    "accuracy_between": one.accuracy.between,
                    "tar": tar,
                    "no_face": int((~judged.found).sum()),
                    "ms": finding[detector] + embedding[embedder],
                    "ms_detector": finding[detector],
                }
            )
    rows.sort(key=lambda row: -row["tar"][1e-4][0])
    if given.json:
        print(json.dumps({"photos": len(paths), "pairs": int(chosen.sum()), "rows": rows}))
        return
    print(f"{len(paths)} photographs, {int(chosen.sum())} pairs\n")
    columns = "detector | embedder | accuracy | TAR at FAR 1e-3 | difference | TAR at FAR 1e-4 | difference | no face"
    print(f"| {columns} | ms (of which detector) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["accuracy_between"]
        tars = [
            f"{tar:.2%} ({ends[0]:.2%} to {ends[1]:.2%}) | {away[0]:+.2%} to {away[1]:+.2%}"
            for tar, ends, away in row["tar"].values()
        ]
        print(
            f"| `{row['detector']}` | `{row['embedder']}` | {row['accuracy']:.2%} ({low:.2%} to {high:.2%}) | "
            f"{' | '.join(tars)} | {row['no_face']} | {row['ms']:.1f} ({row['ms_detector']:.1f}) |"
        )


if __name__ == "__main__":
    main()
