"""Error rates, checked on scores of which the answer is known, and by counting."""

import numpy as np
import pytest

from vultus.evaluation.trials import MISSED, all_against_all, rates, tar_at, trials


def test_rates_of_scores_that_can_be_counted_by_hand() -> None:
    genuine = [0.9, 0.8, 0.7, 0.6, 0.35]
    impostors = [0.65, *np.linspace(0.4, 0.0, 99)]
    found = rates(trials(np.array(genuine + impostors), np.arange(105) < 5), (0.1, 0.01, 0.001), rounds=50)
    by_far = {one.far: one for one in found.tar}
    assert by_far[0.01].tar == 0.8  # one impostor may pass, so the bar is the next one, 0.4
    assert by_far[0.01].threshold == 0.4
    assert by_far[0.01].accepted == 1
    assert by_far[0.01].few
    assert by_far[0.1].tar == 0.8
    assert not by_far[0.1].few
    assert found.not_measured == (0.001,)
    assert found.drawn == "pairs"
    assert 0.8 in (tar for _, tar, _ in found.roc)


def test_equal_scores_are_all_accepted_or_none() -> None:
    of = trials(np.array([0.5, 0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False, False]))
    assert tar_at(of, 1 / 3) == 0.5  # one of three may pass, but two are equal
    assert tar_at(of, 2 / 3) == 1.0


def test_the_equal_error_rate_is_where_both_normal_curves_cross(rand: np.random.Generator) -> None:
    same = np.arange(40_000) % 2 == 0
    scores = rand.normal(0, 1, 40_000) + 3.0 * same
    found = rates(trials(scores, same), rounds=20)
    assert found.eer == pytest.approx(0.0668, abs=0.004)  # the tail of a normal curve from 1.5 deviations on
    assert found.eer_between[0] <= found.eer <= found.eer_between[1]


def test_no_face_is_a_refusal_and_not_a_pair_left_out() -> None:
    of = trials(np.array([0.9, MISSED, 0.1, MISSED]), np.array([True, True, False, False]))
    assert tar_at(of, 0.5) == 0.5
    assert rates(of, rounds=5).missed == 1


def test_every_picture_with_every_other_one_is_what_a_list_of_all_pairs_gives(rand: np.random.Generator) -> None:
    people = rand.integers(0, 300, 1100)
    vectors = rand.standard_normal((300, 16))[people] + 0.7 * rand.standard_normal((1100, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors[::50] = 0.0
    first, second = np.triu_indices(1100, 1)
    scores = np.einsum("nd,nd->n", vectors[first], vectors[second])
    scores[(first % 50 == 0) | (second % 50 == 0)] = MISSED
    listed = trials(scores, people[first] == people[second], np.stack([people[first], people[second]], axis=1))
    at_once = all_against_all(vectors, people, share=0.05)
    assert at_once.impostor_count == listed.impostor_count
    assert len(at_once.impostors) < listed.impostor_count / 10
    for far in (1e-2, 1e-3, 1e-4):
        assert tar_at(at_once, far) == pytest.approx(tar_at(listed, far), abs=1e-6)
    assert rates(at_once, rounds=5).tar[1].between == pytest.approx(rates(listed, rounds=5).tar[1].between, abs=1e-3)


def test_intervals_by_people_are_wider_than_those_that_take_alike_pairs_for_new_ones(rand: np.random.Generator) -> None:
    person = np.repeat(np.arange(100), 50)
    scores = rand.normal(0, 1, 100)[person] + 0.1 * rand.standard_normal(5000) + 1.0
    impostors, strangers = rand.normal(-2, 1, 5000), 100 + np.arange(10_000).reshape(-1, 2)
    every = np.concatenate([scores, impostors])
    same = np.arange(10_000) < 5000
    people = np.concatenate([np.stack([person, person], axis=1), strangers])
    by_people, by_pairs = (rates(trials(every, same, who), rounds=100).tar[0].between for who in (people, None))
    assert by_people[1] - by_people[0] > 1.5 * (by_pairs[1] - by_pairs[0])


def test_rates_need_both_kinds() -> None:
    with pytest.raises(ValueError, match="pairs of two"):
        rates(trials(np.array([0.5]), np.array([True])))
