"""WIDER FACE's average precision on boxes of which the answer is known."""

import itertools

import numpy as np
import pytest

from vultus.evaluation.detection import Picture, average_precision, overlaps


def picture(
    faces: list[list[float]], boxes: list[list[float]], scores: list[float], hard_only: tuple[int, ...] = ()
) -> Picture:
    every = np.ones(len(faces), bool)
    easy = every.copy()
    easy[list(hard_only)] = False
    return Picture(
        faces=np.array(faces, np.float64).reshape(-1, 4),
        counted={"easy": easy, "hard": every},
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        scores=np.array(scores),
    )


ONE, TWO, THREE = [0.0, 0.0, 40.0, 40.0], [100.0, 0.0, 40.0, 40.0], [200.0, 0.0, 20.0, 20.0]
FAR = [0.0, 300.0, 40.0, 40.0]


def test_overlaps_count_both_ends() -> None:
    assert overlaps(np.array([[0, 0, 9, 9.0]]), np.array([[0, 0, 9, 9], [5, 0, 9, 9], [20, 0, 9, 9.0]]))[
        0
    ] == pytest.approx([1.0, 50 / 150, 0.0])


def test_everything_found_and_nothing_else() -> None:
    found = average_precision([picture([ONE, TWO], [ONE, TWO], [0.9, 0.4]), picture([THREE], [THREE], [0.7])])
    assert found["hard"].average == pytest.approx(1.0)
    assert found["hard"].faces == 3


def test_a_false_box_in_the_middle_costs_what_it_stands_for() -> None:
    # By falling score: found (1/1), false (1/2), found (2/3); of three faces. Area: 1/3 · 1 + 1/3 · 2/3.
    found = average_precision([picture([ONE, TWO, THREE], [ONE, FAR, TWO], [0.9, 0.6, 0.3])])
    assert found["hard"].average == pytest.approx(1 / 3 + 2 / 9)
    assert (found["hard"].curve[-1][0], found["hard"].curve[-1][1]) == pytest.approx((2 / 3, 2 / 3))


def test_a_face_that_a_difficulty_leaves_out_is_neither_found_nor_false() -> None:
    found = average_precision([picture([ONE, THREE], [THREE, THREE, ONE], [0.9, 0.8, 0.3], hard_only=(1,))])
    assert found["easy"].average == pytest.approx(1.0)
    assert found["easy"].faces == 1
    assert found["hard"].average == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)  # there the second box on a face is false


def test_pictures_without_boxes_still_have_faces() -> None:
    assert average_precision([picture([ONE], [ONE], [0.9]), picture([TWO], [], [])])["hard"].average == pytest.approx(
        0.5
    )
    assert average_precision([picture([ONE], [], [])])["hard"].average == 0.0
    assert average_precision([]) == {}


def test_against_a_plain_computation(rand: np.random.Generator) -> None:
    """Thresholds of 1/1000 apart and no rounding: the same as going through all boxes of the set by falling score."""
    pictures = []
    scores = rand.permutation(np.arange(1, 201)) / 200
    for number in range(20):
        faces = np.concatenate([rand.permutation(20)[:6, None] * 60.0, np.zeros((6, 1)), np.full((6, 2), 40.0)], axis=1)
        boxes = faces[rand.integers(0, 6, 10)] + rand.normal(0, 9, (10, 4)) * [1, 1, 0, 0]
        pictures.append(
            Picture(faces=faces, counted={"all": rand.random(6) < 0.7}, boxes=boxes, scores=scores[number * 10 :][:10])
        )
    events = []
    for at, one in enumerate(pictures):
        share = overlaps(one.boxes, one.faces)
        events += [(-s, at, int(row.argmax()), row.max()) for s, row in zip(one.scores, share, strict=True)]
    found, boxes_counted, points = set(), 0, [(0.0, 1.0)]
    faces_counted = sum(int(one.counted["all"].sum()) for one in pictures)
    for _, at, face, share in sorted(events):
        if share < 0.5 or pictures[at].counted["all"][face]:
            boxes_counted += 1
            if share >= 0.5:
                found.add((at, face))
        points.append((len(found) / faces_counted, len(found) / max(boxes_counted, 1)))
    recall, precision = np.array(points).T
    area = sum((b - a) * precision[i + 1 :].max() for i, (a, b) in enumerate(itertools.pairwise(recall)))
    assert average_precision(pictures)["all"].average == pytest.approx(area, abs=1e-9)
