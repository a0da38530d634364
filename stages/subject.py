"""Which of several faces on a photo a name is meant for."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.pipeline.messages import Box

_TIMES = 2.0
"""The largest is meant only if its area is so many times the next one's: then nobody could doubt it."""


def subject(boxes: Sequence[Box | None]) -> int | None:
    """Index of the only face, or of the clearly largest; none if there is none, or no telling. An unknown box is small."""
    areas = [0.0 if box is None else box[2] * box[3] for box in boxes]
    largest = max(range(len(areas)), key=areas.__getitem__, default=None)
    if largest is None or any(areas[largest] < _TIMES * area for i, area in enumerate(areas) if i != largest):
        return None
    return largest
