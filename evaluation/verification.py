"""Verification: of many pairs of pictures, which show one person? The protocol of Labeled Faces in the Wild.

G. Huang, M. Ramesh, T. Berg, E. Learned-Miller, "Labeled Faces in the Wild", technical report 07-49 of the University of
Massachusetts (2007), view 2: pairs come in ten folds; of each fold the share is counted that the threshold gets right which
is best on the other nine. Here "best" is exact: the middle of the widest range of similarities that gets the most right.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.evaluation.trials import ROUNDS, Floats, Interval, Numbers, Rates, interval, rates, trials

FOLDS = 10


class Accuracy(Struct, frozen=True, kw_only=True):
    """How many pairs a threshold gets right that was chosen without them."""

    mean: float
    """Over the folds."""
    deviation: float
    """Standard deviation over the folds, of the population, as the tables of the field print after `±`."""
    between: Interval
    """95% interval of the mean, from drawing people (or pairs) anew; the thresholds stay."""
    threshold: float
    """Mean of the folds' thresholds."""
    folds: tuple[float, ...]


class Verification(Struct, frozen=True, kw_only=True):
    """What a list of pairs says about a model."""

    pairs: int
    accuracy: Accuracy
    rates: Rates


def verification(
    similarities: npt.NDArray[np.floating],
    same: npt.NDArray[np.bool_],
    people: Numbers | None = None,
    fold: Numbers | None = None,
    rounds: int = ROUNDS,
) -> Verification:
    """The protocol, for `(n,)` similarities (`trials.MISSED` where a picture showed no face) and whether a pair is one person.

    `people` `(n, 2)` says who is on the pictures, `fold` `(n,)` which fold a pair is in; none: ten equal ones in order, as
    the published evaluation of InsightFace's sets cuts them. ValueError if one of the two kinds of pairs is missing.
    """
    if fold is None:
        fold = np.arange(len(same)) * FOLDS // max(len(same), 1)
    return Verification(
        pairs=len(same),
        accuracy=accuracy(similarities.astype(np.float64), same, fold, people, rounds),
        rates=rates(trials(similarities, same, people), rounds=rounds),
    )


def accuracy(
    similarities: Floats,
    same: npt.NDArray[np.bool_],
    fold: Numbers,
    people: Numbers | None,
    rounds: int = ROUNDS,
) -> Accuracy:
    """The share of pairs that a threshold gets right which was chosen on the other folds."""
    right = np.zeros(len(same), bool)
    thresholds, shares = [], []
    for one in np.unique(fold):
        here = fold == one
        threshold = best_threshold(similarities[~here], same[~here])
        right[here] = (similarities[here] > threshold) == same[here]
        thresholds.append(threshold)
        shares.append(float(right[here].mean()))
    return Accuracy(
        mean=float(np.mean(shares)),
        deviation=float(np.std(shares)),
        between=_between(right, people, rounds),
        threshold=float(np.mean(thresholds)),
        folds=tuple(shares),
    )


def best_threshold(similarities: Floats, same: npt.NDArray[np.bool_]) -> float:
    """The similarity above which pairs are taken for one person so that the most pairs are right.

    Among equals the middle of the widest gap; ValueError without pairs.
    """
    if not len(same):
        raise ValueError("a threshold is chosen on pairs, and there are none")
    order = np.argsort(similarities, kind="stable")
    scores, same = similarities[order], same[order]
    # With the threshold below the i-th score, the impostors before it and the genuine pairs from it on are right.
    right = np.concatenate(([0], np.cumsum(~same))) + np.concatenate((np.cumsum(same[::-1])[::-1], [0]))
    edges = np.concatenate(([scores[0] - 1], scores, [scores[-1] + 1]))
    gaps = edges[1:] - edges[:-1]
    gaps[[0, -1]] = np.minimum(gaps[[0, -1]], 1e-9)  # beyond all scores there is no middle
    right[gaps <= 0] = -1
    best = np.flatnonzero(right == right.max())
    at = int(best[np.argmax(gaps[best])])
    return float((edges[at] + edges[at + 1]) / 2)


def _between(right: npt.NDArray[np.bool_], people: Numbers | None, rounds: int, seed: int = 0) -> Interval:
    rand = np.random.default_rng(seed)
    shares = []
    numbers = None if people is None else np.unique(people, return_inverse=True)[1].reshape(-1, 2)
    count = len(right) if numbers is None else int(numbers.max()) + 1
    for _ in range(rounds):
        times = rand.multinomial(count, np.full(count, 1 / count))
        weights = times
        if numbers is not None:
            first, second = times[numbers[:, 0]], times[numbers[:, 1]]
            weights = np.where(numbers[:, 0] == numbers[:, 1], first, first * second)
        if weights.any():
            shares.append(float(np.average(right, weights=weights)))
    return interval(np.array(shares))
