"""A new detector on the sample photographs: it has to find the faces that the default one finds, with their landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec import Struct

from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face
from vultus.stages import photo
from vultus.stages.detector import Detector, look
from vultus.weights import Samples

_SIDE = 640
_NEAR = 0.12
"""Landmarks may differ by so much of the distance from the eyes to the mouth, on average, before chips look different."""


class Found(Struct, frozen=True, kw_only=True):
    """One photograph."""

    file: str
    expected: int
    """Faces that the default detector finds."""
    found: int
    same: int
    """Expected faces that were found, with their landmarks where they are."""


def detector_trial(detector: Detector, usual: Detector, data: Path, folder: Path) -> tuple[list[Found], str | None]:
    """What `detector` finds on the photographs in `folder` beside `usual`, and what is wrong with it, if anything is."""
    rows, limits = [], Config().decode
    for sample in Samples(data).list():
        image = Image(photo.decode(photo.read(str(folder / sample.file), limits).data, limits))
        expected, found = look(usual, image, _SIDE), look(detector, image, _SIDE)
        same = sum(any(_same(one, other) for other in found) for one in expected)
        rows.append(Found(file=sample.file, expected=len(expected), found=len(found), same=same))
    missed = next((row for row in rows if row.same < row.expected or row.found > 2 * row.expected), None)
    if missed is None:
        return rows, None
    return (
        rows,
        f"on {missed.file} it finds {missed.same} of {missed.expected} faces as they are, and {missed.found} in all",
    )


def _same(one: Face, other: Face) -> bool:
    here, there = np.array(one.landmarks), np.array(other.landmarks)
    height = float(np.linalg.norm(here[:2].mean(axis=0) - here[3:].mean(axis=0)))
    return float(np.linalg.norm(here - there, axis=1).mean()) <= _NEAR * height
