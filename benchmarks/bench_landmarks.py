"""Whose landmarks should faces be aligned by, the detector's own or O-Net's? On labelled photographs, also made small.

    python benchmarks/bench_landmarks.py LFW [--embedder NAME] [--shrink N] [--least 4] [--people N] [--json]
    python benchmarks/bench_landmarks.py LFW --speed [--threads 1]

LFW is a folder of NAME/NAME_0001.jpg; with `--shrink` each photograph is first made so many times narrower, by averaging.
Of everybody with at least so many photographs the first three are in the gallery and the others are probes; of everybody else
one photograph is a stranger. Told are TAR at FAR 1e-3 and 1e-4 of all these photographs compared with each other, FNIR at FPIR
1e-1 and 1e-2, all with the difference from the detector's own landmarks and its 95% interval from drawing people anew, the same
drawings for both; the same for a gallery that has the one and is asked with the other; and the similarity of a face with
itself, cut out by the one and by the other. `--speed` measures milliseconds: both ways of the whole of a photograph in turn,
and O-Net alone for one face and for sixteen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from vultus.cli.evaluate_faces import FaceReader, Judged
from vultus.configs import data_folder
from vultus.configs.schema import Config, Detect, Embed, Models
from vultus.evaluation.identification import Searches, fnir_drawn, identification, search
from vultus.evaluation.trials import Trials, all_against_all, interval, tar_at, tar_drawn
from vultus.evaluation.work import WorkFile
from vultus.stages.finder import FaceFinder
from vultus.stages.onet import SIDE, ONet
from vultus.weights import Registry

ENROLLED = 3
FARS = (1e-3, 1e-4)
FPIRS = (1e-1, 1e-2)
SMALLEST = 10
"""Pixels of a face's shorter side that count as one, so that shrunk ones are not left out."""


def chosen(lfw: Path, least: int, people: int | None) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """The photographs, who is on each, and whether it is in the gallery."""
    photos, owners, enrolled = [], [], []
    for number, folder in enumerate(sorted(one for one in lfw.iterdir() if one.is_dir())[:people]):
        files = sorted(folder.glob("*.jpg"))
        known = len(files) >= max(least, ENROLLED + 1)
        for at, path in enumerate(files if known else files[:1]):
            photos.append(path)
            owners.append(number)
            enrolled.append(known and at < ENROLLED)
    return photos, np.array(owners), np.array(enrolled)


def shrunk(photos: list[Path], factor: int, folder: Path) -> list[Path]:
    """The photographs, `factor` times narrower, in `folder`."""
    if factor == 1:
        return photos
    written = []
    for path in photos:
        picture = cv2.imread(str(path))
        size = picture.shape[1] // factor, picture.shape[0] // factor
        written.append(folder / f"{path.stem}.png")
        cv2.imwrite(str(written[-1]), cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return written


def judged(given: argparse.Namespace, landmarks: str, photos: list[Path]) -> Judged:
    detect = Detect(landmarks=landmarks, min_face=SMALLEST)  # type: ignore[arg-type]  # one of its two words
    config = Config(models=Models(embedder=given.embedder), detect=detect)
    with WorkFile(given.work) as work, FaceReader(config, data_folder(), work) as reader:
        return reader.judged(photos, lambda _done, _all: None)


def compared(own: Trials | Searches, other: Trials | Searches) -> list[dict[str, object]]:
    """The rates of `other`, and how far they are from those of `own`."""
    rows: list[dict[str, object]] = []
    if isinstance(other, Trials) and isinstance(own, Trials):
        for far in FARS:
            of = tar_drawn(other, far, 300)
            away = interval(of - tar_drawn(own, far, 300))
            rows.append({"rate": f"TAR at FAR {far:g}", "is": tar_at(other, far), "difference": away})
    elif isinstance(other, Searches) and isinstance(own, Searches):
        found = identification(other, len(np.unique(other.person[other.rank > 0])), FPIRS, rounds=1)
        drawn = fnir_drawn(other, FPIRS) - fnir_drawn(own, FPIRS)
        for one, column in zip(found.fnir, drawn.T, strict=False):  # few strangers tell no low FPIR
            rows.append({"rate": f"FNIR at FPIR {one.fpir:g}", "is": one.fnir, "difference": interval(column)})
    return rows


def accuracy(given: argparse.Namespace) -> dict[str, object]:
    photos, who, kept = chosen(given.lfw, given.least, given.people)
    with TemporaryDirectory() as folder:
        photos = shrunk(photos, given.shrink, Path(folder))
        faces = {landmarks: judged(given, landmarks, photos) for landmarks in ("own", "onet")}
    quality = {
        name: np.array([look.grade.quality if look else 0.0 for look in one.looks]) for name, one in faces.items()
    }
    every = {name: all_against_all(one.vectors, who, 0.02) for name, one in faces.items()}

    def asked(gallery: str, probes: str) -> Searches:
        enrolled = faces[gallery].vectors[kept], who[kept], quality[gallery][kept]
        return search(enrolled, (faces[probes].vectors[~kept], who[~kept]), "best")

    usual = asked("own", "own")
    own, onet = faces["own"], faces["onet"]
    both = own.found & onet.found
    itself = np.einsum("nd,nd->n", own.vectors[both], onet.vectors[both])
    widths = [min(look.face.box[2:]) for look in own.looks if look is not None]
    return {
        "photographs": len(photos),
        "people": len(np.unique(who)),
        "genuine": int(every["own"].genuine.size),
        "width": [float(np.percentile(widths, at)) for at in (5, 50, 95)],
        "no_face": int((~own.found).sum()),
        "itself": [float(np.percentile(itself, at)) for at in (1, 5, 50)],
        "own": compared(every["own"], every["own"]) + compared(usual, usual),
        "onet": compared(every["own"], every["onet"]) + compared(usual, asked("onet", "onet")),
        "gallery own, asked onet": compared(usual, asked("own", "onet")),
        "gallery onet, asked own": compared(usual, asked("onet", "own")),
    }


def speed(given: argparse.Namespace) -> dict[str, float]:
    """Milliseconds, the best of `--rounds`: of a photograph both ways in turn, of O-Net itself for one face and sixteen."""
    photos = chosen(given.lfw, given.least, given.people)[0][: given.photographs]
    finders = {}
    for landmarks in ("own", "onet"):
        detect = Detect(landmarks=landmarks, threads=given.threads)  # type: ignore[arg-type]
        config = Config(models=Models(embedder=given.embedder), detect=detect, embed=Embed(threads=given.threads))
        finders[landmarks] = FaceFinder(config)
        finders[landmarks].open()
    images = [finders["own"].read(path) for path in photos]
    onet = ONet(Registry(data_folder()).resolve("mtcnn_onet", "part").path, threads=given.threads)
    crops = np.random.default_rng(1).integers(0, 256, (16, SIDE, SIDE, 3), np.uint8)
    told = dict.fromkeys((*finders, "a face", "of sixteen a face"), np.inf)
    for _ in range(given.rounds):
        for name, finder in finders.items():
            start = time.perf_counter()
            faces = sum(len(finder.find(image)) for image in images)
            told[name] = min(told[name], (time.perf_counter() - start) * 1e3 / len(images))
        for name, count in (("a face", 1), ("of sixteen a face", 16)):
            start = time.perf_counter()
            onet.refine(crops[:count], np.ones((count, 3)))
            told[name] = min(told[name], (time.perf_counter() - start) * 1e3 / count)
    for finder in finders.values():
        finder.close()
    return told | {"faces a photograph": faces / len(images)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--embedder", default=Models().embedder)
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--least", type=int, default=4)
    parser.add_argument("--people", type=int, help="the first so many folders; all without it")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--photographs", type=int, default=16, help="of which the milliseconds are measured")
    parser.add_argument("--rounds", type=int, default=7, help="of the milliseconds")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy.work"), help="keeps faces and vectors")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told = speed(given) if given.speed else accuracy(given)
    if given.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            print(f"{name}: {value}")
            continue
        rates = (
            f"{row['rate']} {row['is']:.2%} ({row['difference'][0]:+.2%} to {row['difference'][1]:+.2%})"
            for row in value
        )
        print(f"{name}: {', '.join(rates)}")


if __name__ == "__main__":
    main()
