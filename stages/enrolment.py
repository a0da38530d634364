"""Which face of a photo a person is enrolled by, and whether it is good enough for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from vultus.index import FaceRecord
from vultus.pipeline.messages import Box
from vultus.stages.chip import chip_jpeg
from vultus.stages.finder import FoundFace
from vultus.stages.quality import grade_found, why
from vultus.stages.subject import subject

_SAME = 0.5
"""Intersection over union from which on a box that is given means a face."""


class Unfit(ValueError):
    """Nobody can be enrolled by this photo; the message says why, in words."""

    def __init__(self, kind: Literal["no-face", "several-faces", "no-such-face", "low-quality"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def meant(faces: Sequence[FoundFace], box: Box | None = None) -> FoundFace:
    """The face that a name is meant for: the one at `box`, the only one, or the clearly largest. Raises Unfit."""
    if not faces:
        raise Unfit("no-face", "no face found; use a photo in which the face is larger or turned to the camera")
    if box is not None:
        nearest = max(faces, key=lambda face: _overlap(face.box, box))
        if _overlap(nearest.box, box) < _SAME:
            raise Unfit("no-such-face", f"no face of the {len(faces)} that were found is at this box")
        return nearest
    only = subject([face.box for face in faces])
    if only is None:
        raise Unfit("several-faces", f"{len(faces)} faces of similar size; crop the photo to the one person")
    return faces[only]


def check(picture: npt.NDArray[np.uint8], face: FoundFace, least: float) -> None:
    """Raise Unfit for a face of `picture`, `(h, w, 3)` uint8 BGR, whose quality is below `least`."""
    if face.quality < least:
        reason = why(grade_found(picture, face), face.magnitude)
        raise Unfit("low-quality", f"quality {face.quality:.2f} is below store.enrol_quality: {reason}")


def record(source: str, face: FoundFace, *, chip: bool, collection: str | None = None) -> FaceRecord:
    """What the gallery keeps of the face beside its vector; its picture if `chip`."""
    return FaceRecord(
        source=source,
        collection=collection,
        box=face.box,
        landmarks=face.landmarks,
        score=face.score,
        quality=face.quality,
        chip=chip_jpeg(face.chip) if chip else None,
    )


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(0.0, wide) * max(0.0, high)
    return both / max(one[2] * one[3] + other[2] * other[3] - both, 1e-9)
