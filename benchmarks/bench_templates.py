"""What should several faces of one person become? The best of them, with or without regard to quality, or their mean.

    python benchmarks/bench_templates.py LFW [--embedder NAME] [--least 4] [--spoiled] [--json]

LFW is a folder of NAME/NAME_0001.jpg. Of everybody with at least so many photographs the first three are in the gallery and
the others are probes; people with fewer are strangers, one photograph of each. FNIR at FPIR 1e-1 and 1e-2, with the
difference from the best face, which is what a gallery goes by, and its 95% interval from drawing people anew, the same
drawings for all.

Two ways to let quality weigh in the best face: take p times what its quality lacks to the best quality of that person from
a face's similarity, or leave out faces of less than a share of that best quality. LFW's photographs are all good; with
`--spoiled` every third one of everybody, in the gallery and among the probes, is first shrunk to a fifth and enlarged again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import cv2
import numpy as np

from vultus.cli.evaluate_faces import FaceReader
from vultus.configs import data_folder
from vultus.configs.schema import Config, Models
from vultus.evaluation.identification import Fusion, Searches, fnir_drawn, identification, search
from vultus.evaluation.trials import interval
from vultus.evaluation.work import WorkFile

WANTED = (1e-1, 1e-2)
ENROLLED = 3
PENALTIES = (0.05, 0.1, 0.2, 0.4)
SHARES = (0.5, 0.8)
SHRUNK = 5

Gallery = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Vectors, whose they are, their quality."""


def contenders(gallery: Gallery, probes: tuple[np.ndarray, np.ndarray]) -> dict[str, Searches]:
    vectors, owners, quality = gallery
    found = {fusion: search(gallery, probes, fusion) for fusion in get_args(Fusion)}
    people, of = np.unique(owners, return_inverse=True)
    most = np.zeros(len(people))
    np.maximum.at(most, of, quality)
    lacking = most[of] - quality
    asked = np.hstack([probes[0], np.ones((len(probes[0]), 1), np.float32)])
    for penalty in PENALTIES:  # a dimension more: of a probe 1, of a face what is taken from it
        faces = np.hstack([vectors, -(penalty * lacking)[:, None].astype(np.float32)])
        faces[~vectors.any(axis=1)] = 0
        found[f"best, {penalty} off"] = search((faces, owners, quality), (asked, probes[1]))
    for share in SHARES:
        good = quality >= share * most[of]
        found[f"best from {share:.0%}"] = search((vectors[good], owners[good], quality[good]), probes)
    return found


def spoil(photos: list[Path], folder: Path) -> list[Path]:
    """Every third of the photographs of each person, made poor, in `folder`."""
    spoiled = []
    for path in photos:
        if int(path.stem[-4:]) % 3 != 1:
            spoiled.append(path)
            continue
        picture = cv2.imread(str(path))
        height, width = picture.shape[:2]
        small = cv2.resize(picture, (width // SHRUNK, height // SHRUNK), interpolation=cv2.INTER_AREA)
        spoiled.append(folder / path.name)
        cv2.imwrite(str(spoiled[-1]), cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    return spoiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--embedder", default=Models().embedder)
    parser.add_argument("--least", type=int, default=4)
    parser.add_argument("--spoiled", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy.work"), help="keeps faces and vectors")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    folders = [sorted(folder.glob("*.jpg")) for folder in sorted(given.lfw.iterdir()) if folder.is_dir()]
    photos, owners, enrolled = [], [], []
    for number, folder in enumerate(folders):
        known = len(folder) >= max(given.least, ENROLLED + 1)
        for at, path in enumerate(folder if known else folder[:1]):
            photos.append(path)
            owners.append(number)
            enrolled.append(known and at < ENROLLED)
    config = Config(models=Models(embedder=given.embedder))
    with (
        TemporaryDirectory() as folder,
        WorkFile(given.work) as work,
        FaceReader(config, data_folder(), work) as reader,
    ):
        if given.spoiled:
            photos = spoil(photos, Path(folder))
        judged = reader.judged(photos, lambda _done, _all: None)
    who, kept = np.array(owners), np.array(enrolled)
    quality = np.array([look.grade.quality if look else 0.0 for look in judged.looks])
    gallery = judged.vectors[kept], who[kept], quality[kept]
    rows, baseline = [], None
    for fusion, searches in contenders(gallery, (judged.vectors[~kept], who[~kept])).items():
        found = identification(searches, len(np.unique(who[kept])), WANTED, rounds=1)
        drawn = fnir_drawn(searches, WANTED)
        baseline = drawn if baseline is None else baseline
        rows.append(
            {
                "fusion": fusion,
                "people": found.people,
                "mated": found.mated,
                "strangers": found.non_mated,
                "fnir": {one.fpir: one.fnir for one in found.fnir},
                "difference": [interval(column) for column in (drawn - baseline).T],
                "first": found.cmc[0][1],
            }
        )
    if given.json:
        print(json.dumps(rows))
        return
    print(f"{rows[0]['people']} people, {rows[0]['mated']} probes of them, {rows[0]['strangers']} strangers")
    for row in rows:
        rates = zip(row["fnir"].values(), row["difference"], strict=True)
        print(
            f"{row['fusion']:16}" + "  ".join(f"{rate:.2%} ({low:+.2%} to {high:+.2%})" for rate, (low, high) in rates)
        )


if __name__ == "__main__":
    main()
