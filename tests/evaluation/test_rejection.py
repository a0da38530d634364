"""Error-versus-reject curves of measures that know everything, nothing, and the wrong thing."""

import numpy as np
import pytest

from vultus.evaluation.rejection import rejection


def test_a_perfect_measure_takes_an_error_away_with_each_pair(rand: np.random.Generator) -> None:
    scores = rand.permutation(np.linspace(0, 1, 1000))
    found = rejection(scores, scores, 0.1)
    assert found.start == 0.1
    assert found.gain == pytest.approx(1.0)
    by_share = dict(found.curve)
    assert by_share[0.05] == pytest.approx(0.05 / 0.95)
    assert by_share[0.2] == 0.0
    assert rejection(scores, -scores, 0.1).gain < -0.1


def test_a_measure_that_knows_nothing_gains_nothing(rand: np.random.Generator) -> None:
    scores = rand.random(20_000)
    assert rejection(scores, rand.random(20_000), 0.1).gain == pytest.approx(0.0, abs=0.03)
    constant = rejection(scores, np.ones(20_000), 0.1)
    assert constant.gain == pytest.approx(0.0, abs=1e-9)  # whatever the order of equals
    assert dict(constant.curve)[0.3] == pytest.approx(0.1)


def test_pairs_are_needed() -> None:
    with pytest.raises(ValueError, match="pairs of one person"):
        rejection(np.zeros(1), np.zeros(1), 0.1)
