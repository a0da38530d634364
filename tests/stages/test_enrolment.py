"""Which face of a photo a person is enrolled by."""

import numpy as np
import pytest

from vultus.pipeline.messages import Box
from vultus.stages import enrolment
from vultus.stages.enrolment import Unfit
from vultus.stages.finder import FoundFace


def face(box: Box, quality: float = 0.9, magnitude: float | None = None) -> FoundFace:
    x, y, w, h = box
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    landmarks = tuple((x + w * across, y + h * down) for across, down in points)
    return FoundFace(
        box=box,
        landmarks=landmarks,
        found=landmarks,
        score=0.9,
        quality=quality,
        magnitude=magnitude,
        chip=np.zeros((112, 112, 3), np.uint8),
        vector=np.ones(4, np.float32) / 2,
    )


LARGE, SMALL = face((100.0, 100.0, 80.0, 100.0)), face((300.0, 100.0, 30.0, 40.0))
TWIN = face((300.0, 100.0, 78.0, 96.0))


def test_the_only_face_or_the_clearly_largest_is_meant() -> None:
    assert enrolment.meant([SMALL]) is SMALL
    assert enrolment.meant([SMALL, LARGE]) is LARGE


@pytest.mark.parametrize(("faces", "kind"), [([], "no-face"), ([LARGE, TWIN], "several-faces")])
def test_a_photo_that_leaves_doubt_is_refused(faces: list[FoundFace], kind: str) -> None:
    with pytest.raises(Unfit) as refused:
        enrolment.meant(faces)
    assert refused.value.kind == kind


def test_a_box_says_which_face_is_meant() -> None:
    assert enrolment.meant([LARGE, TWIN], (304.0, 96.0, 80.0, 100.0)) is TWIN
    assert enrolment.meant([LARGE, SMALL], SMALL.box) is SMALL
    with pytest.raises(Unfit, match="no face of the 2") as refused:
        enrolment.meant([LARGE, TWIN], (0.0, 0.0, 90.0, 110.0))
    assert refused.value.kind == "no-such-face"


def test_a_face_below_the_least_quality_is_refused_with_its_reason() -> None:
    picture = np.full((400, 500, 3), 128, np.uint8)
    enrolment.check(picture, LARGE, 0.9)
    with pytest.raises(Unfit, match=r"^quality 0.90 is below store.enrol_quality: it is blurred$"):
        enrolment.check(picture, LARGE, 0.91)
    with pytest.raises(Unfit, match=r"its embedding's length is 12.5; it is blurred$"):
        enrolment.check(picture, face(LARGE.box, 0.1, 12.5), 0.5)


def test_the_picture_is_kept_if_wanted() -> None:
    kept = enrolment.record("a.jpg", LARGE, chip=True, collection="site")
    assert (kept.source, kept.collection, kept.box, kept.quality) == ("a.jpg", "site", LARGE.box, 0.9)
    assert kept.chip is not None
    assert kept.chip[:2] == b"\xff\xd8"
    assert enrolment.record("a.jpg", LARGE, chip=False).chip is None
