"""Whom a photo shows: the one face, or the one that is clearly the largest."""

import pytest

from vultus.pipeline.messages import Box
from vultus.stages.subject import subject


def box(side: float) -> Box:
    return (3.0, 4.0, side, side)


@pytest.mark.parametrize(
    ("boxes", "meant"),
    [
        ([], None),
        ([box(10)], 0),
        ([None], 0),
        ([box(10), box(15)], 1),
        ([box(15), box(10)], 0),
        ([box(14), box(10)], None),
        ([box(10), box(10)], None),
        ([box(10), box(30), box(20), None], 1),
        ([None, None], 0),
    ],
)
def test_subject(boxes: list[Box | None], meant: int | None) -> None:
    assert subject(boxes) == meant
