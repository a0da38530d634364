"""Average precision of face detectors, as WIDER FACE computes it.

S. Yang, P. Luo, C. C. Loy, X. Tang, "WIDER FACE: A Face Detection Benchmark", CVPR 2016, and its published evaluation: scores
are stretched to 0..1 over the whole set; in each picture boxes are taken by falling score, each with the true face that it
overlaps most. From an overlap of one half on the face is found; a box on a face that this difficulty leaves out is ignored;
every other box counts, a second one on a face that was found already too. Precision and recall are summed over all pictures
at 1,000 thresholds, and the area is that under the precision made monotone. Boxes include the pixels of both their ends.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from msgspec import Struct

from vultus.evaluation.trials import Floats

OVERLAP = 0.5
_THRESHOLDS = 1000


class Picture(Struct, frozen=True, kw_only=True, eq=False):
    """The true faces of a picture, and what a detector found in it."""

    faces: Floats
    """`(n, 4)` left, top, width, height in pixels."""
    counted: dict[str, np.ndarray]
    """For each difficulty `(n,)` bool: the faces that have to be found; boxes on the others are ignored."""
    boxes: Floats
    """`(m, 4)` left, top, width, height."""
    scores: Floats
    """`(m,)`"""


class Precision(Struct, frozen=True, kw_only=True):
    """How well the faces of one difficulty were found."""

    average: float
    """Average precision, 0..1."""
    faces: int
    curve: tuple[tuple[float, float], ...]
    """Recall and precision, from strict to lax."""


def average_precision(pictures: Iterable[Picture]) -> dict[str, Precision]:
    """The average precision of each difficulty that the pictures name."""
    of = list(pictures)
    every = np.concatenate([one.scores for one in of]) if of else np.zeros(0)
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    spread = high - low if high > low else 1.0
    found = {}
    for level in sorted({level for one in of for level in one.counted}):
        sums, faces = np.zeros((_THRESHOLDS, 2)), 0
        for one in of:
            counted = one.counted.get(level, np.zeros(len(one.faces), bool))
            faces += int(counted.sum())
            if len(one.faces) and len(one.boxes):
                sums += _counts(one, counted, (one.scores - low) / spread)
        found[level] = _precision(sums, faces)
    return found


def overlaps(boxes: Floats, faces: Floats) -> Floats:
    """`(m, n)` area of the intersection over that of the union; left, top, width, height, both ends included."""
    first, second = (np.concatenate([one[:, :2], one[:, :2] + one[:, 2:]], axis=1) for one in (boxes, faces))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=2)
    areas = [(one[:, 2:] - one[:, :2] + 1).prod(axis=1) for one in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


def _counts(of: Picture, counted: np.ndarray, scores: Floats) -> Floats:
    """`(thresholds, 2)`: boxes that count, and faces found, at each threshold."""
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    match = overlaps(of.boxes[order], of.faces)
    nearest, overlap = match.argmax(axis=1), match.max(axis=1)
    counts, found = np.ones(len(order)), np.zeros(len(order))
    seen: set[int] = set()
    for at, (face, share) in enumerate(zip(nearest.tolist(), overlap.tolist(), strict=True)):
        if share >= OVERLAP:
            if not counted[face]:
                counts[at] = 0.0
            else:
                seen.add(face)
        found[at] = len(seen)
    thresholds = 1 - np.arange(1, _THRESHOLDS + 1) / _THRESHOLDS
    above = np.searchsorted(-scores, -thresholds, side="right")
    sums = np.stack([np.concatenate(([0.0], np.cumsum(counts)))[above], np.concatenate(([0.0], found))[above]], axis=1)
    return np.asarray(sums)


def _precision(sums: Floats, faces: int) -> Precision:
    precision = np.divide(sums[:, 1], sums[:, 0], out=np.zeros(len(sums)), where=sums[:, 0] > 0)
    recall = sums[:, 1] / max(faces, 1)
    x = np.concatenate(([0.0], recall, [1.0]))
    y = np.maximum.accumulate(np.concatenate(([0.0], precision, [0.0]))[::-1])[::-1]
    steps = np.flatnonzero(x[1:] != x[:-1])
    average = float(((x[steps + 1] - x[steps]) * y[steps + 1]).sum())
    points = zip(recall[9::10].tolist(), precision[9::10].tolist(), strict=True)
    return Precision(average=average, faces=faces, curve=tuple(dict.fromkeys(points)))
