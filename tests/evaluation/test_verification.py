"""The protocol of LFW: thresholds are chosen on other folds."""

import numpy as np
import pytest

from vultus.evaluation.verification import best_threshold, verification


def test_a_threshold_lies_in_the_middle_of_the_widest_gap() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.9])
    assert best_threshold(scores, np.array([False, False, False, True, True])) == pytest.approx(0.5)
    # One pair is wrong at 0.25 and at 0.6; the second gap is the wider one.
    assert best_threshold(np.array([0.2, 0.3, 0.5, 0.7]), np.array([False, True, False, True])) == pytest.approx(0.6)
    assert best_threshold(np.array([0.2, 0.4]), np.array([True, True])) < 0.2
    assert best_threshold(np.array([0.2, 0.4]), np.array([False, False])) > 0.4


def test_a_threshold_is_as_good_as_any_other(rand: np.random.Generator) -> None:
    same = rand.random(200) < 0.5
    scores = np.round(rand.normal(0, 1, 200) + same, 1)  # with equal ones
    found = best_threshold(scores, same)
    right = ((scores > found) == same).sum()
    assert right == max(((scores > one) == same).sum() for one in np.arange(-5, 5, 0.05))


def test_a_fold_that_is_different_is_judged_by_the_others() -> None:
    """All similarities of the last fold are higher: its own best threshold would be right, that of the others is not."""
    scores = np.tile([0.8, 0.2], 20)
    scores[36:] += 1.0
    same = np.tile([True, False], 20)
    found = verification(scores, same, fold=np.arange(40) // 4, rounds=20)
    assert found.accuracy.folds == (1.0,) * 9 + (0.5,)
    assert found.accuracy.mean == 0.95
    assert found.accuracy.threshold == pytest.approx(0.5, abs=0.01)
    assert found.accuracy.between[0] < 0.95
    assert verification(scores, same, rounds=5).accuracy.folds == found.accuracy.folds  # ten equal folds in order
