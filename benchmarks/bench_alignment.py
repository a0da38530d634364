"""What is the cut of a face worth? Templates, fits, warps and mirroring, one changed at a time, on labelled photographs.

    python benchmarks/bench_alignment.py LFW [--embedder NAME] [--rounds 300] [--enlarge 3 --noise 20] [--only CUT...] [--json]

LFW is a folder of NAME/NAME_0001.jpg. Every photograph of the people who
have the most is compared with every other one; the figure is TAR at FAR 1e-3 and
1e-4, and its difference from the cut in use with a 95% interval from drawing people anew, both cuts with the same drawings.
The faces are found once, by the default detector; photographs without one are left out. `--enlarge` with `--noise` makes of
each photograph one of so many times the width with noise of that deviation on each pixel, which is what interpolation
without averaging lets through when it shrinks the face again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vultus.cli.evaluate_faces import FaceReader
from vultus.configs import data_folder
from vultus.configs.schema import Config, Models
from vultus.evaluation.trials import all_against_all, interval, tar_at, tar_drawn
from vultus.evaluation.work import WorkFile
from vultus.stages import align, photo
from vultus.stages.embed import vectors_of
from vultus.weights import Registry, open_embedder

SIDE = align.SIDE
Warp = Callable[[np.ndarray, np.ndarray], np.ndarray]


def fit(points: np.ndarray, method: int) -> np.ndarray:
    """A similarity that may leave points out; least squares where the robust one finds none."""
    matrix, _ = cv2.estimateAffinePartial2D(points, align.TEMPLATE, method=method, ransacReprojThreshold=3.0)
    return align.similarity(points, align.TEMPLATE) if matrix is None else matrix


def warped(
    image: np.ndarray, matrix: np.ndarray, how: int = cv2.INTER_LINEAR, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=how, borderMode=border)


def averaged(image: np.ndarray, matrix: np.ndarray, fine: int = 4) -> np.ndarray:
    """Each pixel the mean of fine × fine samples: what area interpolation is for a turned grid."""
    zoom = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    large = cv2.warpAffine(image, (zoom @ np.vstack([matrix, (0, 0, 1)]))[:2], (SIDE * fine, SIDE * fine))
    return cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def scaled(factor: float, down: float = 0.0) -> np.ndarray:
    """The template around the middle of the chip, larger or smaller, and moved down."""
    return (align.TEMPLATE - SIDE / 2) * factor + SIDE / 2 + (0, down)


def contenders() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Ways to a chip, from the picture `(h, w, 3)` and the landmarks `(5, 2)`; the first is the one in use."""

    def to(template: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return lambda image, points: warped(image, align.similarity(points, template))

    def least(points: np.ndarray) -> np.ndarray:
        return align.similarity(points, align.TEMPLATE)

    return {
        "in use": lambda image, points: align.crop(image, tuple(map(tuple, points.tolist()))),
        "bilinear, never averaged": lambda image, points: warped(image, least(points)),
        "averaged at any size": lambda image, points: averaged(image, least(points)),
        "cubic": lambda image, points: warped(image, least(points), cv2.INTER_CUBIC),
        "edge repeated, not black": lambda image, points: warped(image, least(points), border=cv2.BORDER_REPLICATE),
        "LMedS": lambda image, points: warped(image, fit(points, cv2.LMEDS)),
        "RANSAC, 3 pixels": lambda image, points: warped(image, fit(points, cv2.RANSAC)),
        "eyes and mouth, no nose": lambda image, points: warped(
            image, align.similarity(points[[0, 1, 3, 4]], align.TEMPLATE[[0, 1, 3, 4]])
        ),
        "eyes alone": lambda image, points: warped(image, align.similarity(points[:2], align.TEMPLATE[:2])),
        "template 5% larger": to(scaled(1.05)),
        "template 5% smaller": to(scaled(0.95)),
        "template 2 pixels up": to(scaled(1.0, -2.0)),
        "template 2 pixels down": to(scaled(1.0, 2.0)),
    }


Faces = tuple[list[np.ndarray], list[np.ndarray], np.ndarray]


def faces(folder: Path, most: int, embedder: str, work: Path, enlarge: int, noise: float) -> Faces:
    """Pictures, landmarks of the face that each is about, and a number for each person."""
    config = Config(models=Models(embedder=embedder))
    each = sorted(
        (sorted(person.glob("*.jpg")) for person in folder.iterdir() if person.is_dir()), key=len, reverse=True
    )
    paths = [path for photos in each[:most] for path in photos]
    with WorkFile(work) as kept, FaceReader(config, data_folder(), kept) as reader:
        looks = reader.judged(paths, lambda _done, _all: None).looks
    pictures, points, people = [], [], []
    rand = np.random.default_rng(0)
    for path, look in zip(paths, looks, strict=True):
        if look is None:
            continue
        image = photo.decode(path.read_bytes(), config.decode)
        if enlarge > 1 or noise:
            size = (image.shape[1] * enlarge, image.shape[0] * enlarge)
            image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            image = np.clip(image + rand.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
        pictures.append(image)
        points.append((np.array(look.face.landmarks) + 0.5) * enlarge - 0.5)
        people.append(path.parent.name)
    return pictures, points, np.unique(people, return_inverse=True)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--embedder", default=Models().embedder)
    parser.add_argument("--work", type=Path, default=Path("build/accuracy.work"), help="keeps faces and vectors")
    parser.add_argument("--only", nargs="*", help="these cuts, beside the one in use")
    parser.add_argument("--people", type=int, default=500, help="those with the most photographs")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--enlarge", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pictures, points, people = faces(given.lfw, given.people, given.embedder, given.work, given.enlarge, given.noise)
    engine = open_embedder(Registry(data_folder()).resolve(given.embedder, "embedder").path)
    baseline: dict[float, np.ndarray] = {}
    rows = []

    def judge(name: str, vectors: np.ndarray) -> None:
        trials = all_against_all(vectors, people, share=0.01)
        row: dict[str, object] = {"cut": name}
        for far in (1e-3, 1e-4):
            drawn = tar_drawn(trials, far, given.rounds)
            difference = interval(drawn - baseline.setdefault(far, drawn))
            row[f"tar_{far:g}"] = tar_at(trials, far)
            row[f"difference_{far:g}"] = difference
        rows.append(row)
        if not given.json:
            figures = [row["tar_0.001"], *row["difference_0.001"], row["tar_0.0001"], *row["difference_0.0001"]]
            print(
                f"{name:28}" + "{:7.2%} ({:+.2%} to {:+.2%})  {:7.2%} ({:+.2%} to {:+.2%})".format(*figures), flush=True
            )

    for name, cut in contenders().items():
        if given.only is not None and name not in (*given.only, "in use"):
            continue
        chips = np.stack([cut(image, where) for image, where in zip(pictures, points, strict=True)]).astype(np.uint8)
        plain = vectors_of(engine, chips)
        judge(name, plain)
        if name == "in use":
            mirrored = plain + vectors_of(engine, np.ascontiguousarray(chips[:, :, ::-1]))
            judge("in use, mirrored and added", mirrored / np.linalg.norm(mirrored, axis=1, keepdims=True))
    if given.json:
        print(json.dumps({"photos": len(pictures), "people": int(people.max()) + 1, "rows": rows}))


if __name__ == "__main__":
    main()
