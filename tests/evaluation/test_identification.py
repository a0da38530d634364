"""Open-set searches of which every answer is known."""

import numpy as np
import pytest

from vultus.evaluation.identification import identification, search
from vultus.evaluation.trials import MISSED


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


# Person 0 has two faces, 1 one, 2 a picture without a face.
GALLERY = (unit((1, 0, 0), (0.6, 0.8, 0), (0, 0, 1), (0, 0, 0)), np.array([0, 0, 1, 2]), np.array([0.9, 0.1, 0.9, 0.0]))


def test_searches() -> None:
    probes = (
        unit((0.6, 0.8, 0), (0.8, 0, 0.6), (0, 1, 0), (0, 0, 0), (0, 1, 0.1), (0, 0, 1)),
        np.array([0, 1, 2, 1, 7, 8]),
    )
    found = search(GALLERY, probes)
    assert found.rank.tolist() == [1, 2, 3, 3, 0, 0]
    assert found.best[:3] == pytest.approx([1.0, 0.8, 0.8])
    assert found.own[:2] == pytest.approx([1.0, 0.6])
    assert found.own[2:].tolist() == [MISSED] * 4
    assert found.best[3] == MISSED
    judged = identification(found, 2, (0.5, 0.1), rounds=50)
    assert (judged.mated, judged.non_mated, judged.missed) == (4, 2, 1)
    assert judged.cmc == ((1, 0.25), (2, 0.5))
    (rate,) = judged.fnir
    assert rate.fnir == 0.75  # the bar is the weaker stranger's score
    assert rate.threshold == pytest.approx(float(found.best[4]))
    assert judged.not_measured == (0.1,)


def test_several_faces_of_a_person_become_one() -> None:
    probe = unit((0, 1, 0)), np.array([0])
    best, mean, weighted = (search(GALLERY, probe, fusion).own[0] for fusion in ("best", "mean", "weighted"))
    assert best == pytest.approx(0.8)
    assert mean == pytest.approx(0.8 / np.hypot(1.6, 0.8))
    assert weighted == pytest.approx(0.01 * 0.8 / np.hypot(0.81 + 0.006, 0.008))


def test_rates_against_counting(rand: np.random.Generator) -> None:
    centres = rand.standard_normal((80, 12))
    owners, people = np.repeat(np.arange(40), 2), rand.integers(0, 80, 700)
    faces = unit(*(centres[owners] + 0.8 * rand.standard_normal((80, 12))))
    asked = unit(*(centres[people] + 0.8 * rand.standard_normal((700, 12))))
    found = search((faces, owners, np.ones(80)), (asked, people))
    judged = identification(found, 40, (0.1, 0.01), rounds=100)
    similar = (asked @ faces.T).reshape(700, 40, 2).max(axis=2)
    known = people < 40
    for rate in judged.fnir:
        right = (similar.argmax(axis=1) == people) & (similar.max(axis=1) > rate.threshold + 1e-7)
        assert rate.fnir == pytest.approx(1 - right[known].mean())
        assert (similar[~known].max(axis=1) > rate.threshold + 1e-6).mean() <= rate.fpir
        assert rate.between[0] <= rate.fnir <= rate.between[1]
    assert judged.cmc[0][1] == pytest.approx((similar[known].argmax(axis=1) == people[known]).mean())
    assert all(low[0] <= high[0] and low[1] >= high[1] for low, high in zip(judged.det, judged.det[1:], strict=False))


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ValueError, match="strangers"):
        identification(search(GALLERY, (unit((1, 0, 0)), np.array([0]))), 2)
    with pytest.raises(ValueError, match="people of the gallery"):
        identification(search(GALLERY, (unit((1, 0, 0)), np.array([9]))), 2)
    with pytest.raises(ValueError, match="no face"):
        search((np.zeros((2, 3), np.float32), np.array([0, 1]), np.ones(2)), (unit((1, 0, 0)), np.array([0])))
