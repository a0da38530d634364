"""Comparisons of two pictures, how similar they were found, and the error rates that follow.

A *genuine* comparison shows one person twice, an *impostor* comparison two people. At a threshold `t`, pairs of which the
similarity is above `t` are accepted; FAR is the share of impostors, TAR of genuine pairs that are. A picture without a face is
compared with nobody: its pairs have the similarity `MISSED`, below every other, and are never accepted.

Intervals are 95% bootstrap percentiles (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). What is
drawn with replacement are people, since the pairs of one person are alike: with `w` for how often a person was drawn, a
genuine pair counts `w` times and an impostor pair `w·w'`. Where nobody knows who is on the pictures, pairs are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from msgspec import Struct

MISSED = -2.0
"""Stands for the similarity of a pair of which a picture showed no face."""
ROUNDS = 1000
_FEW = 10
"""Impostor pairs accepted below which a rate rests on few of them."""

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Interval = tuple[float, float]
Weights = tuple[Floats, Floats, float]


class Trials(Struct, frozen=True, kw_only=True, eq=False):
    """The comparisons of a protocol, best first within each kind."""

    genuine: Floats
    """`(n,)` similarities of pairs of one person, falling."""
    impostors: Floats
    """`(m,)` those of two people, falling; of an all-against-all only the highest."""
    genuine_people: Numbers | None = None
    """`(n,)` who it is, 0 … p - 1; none: nobody knows, and pairs are drawn."""
    impostor_people: Numbers | None = None
    """`(m, 2)` who they are."""
    people: int = 0
    """How many people there are, `p`."""
    photos: Numbers | None = None
    """`(p,)` pictures of each person in an all-against-all, which tell how many impostor pairs there are in all."""

    @property
    def impostor_count(self) -> int:
        """Impostor pairs, with those that are not listed."""
        return len(self.impostors) if self.photos is None else round(_crossings(self.photos.astype(np.float64)))


class Tar(Struct, frozen=True, kw_only=True):
    """The share of genuine pairs accepted where impostors are accepted at a stated rate."""

    far: float
    tar: float
    between: Interval
    threshold: float
    accepted: int
    """Impostor pairs above the threshold. Below ten the rate rests on few of them."""

    @property
    def few(self) -> bool:
        """Whether so few impostors were accepted that the next set of pairs may give another rate."""
        return self.accepted < _FEW


class Rates(Struct, frozen=True, kw_only=True):
    """Error rates over all thresholds."""

    genuine: int
    impostors: int
    missed: int
    """Genuine pairs of which a picture showed no face."""
    tar: tuple[Tar, ...]
    not_measured: tuple[float, ...]
    """Rates of impostors wanted that are rarer than one of the impostor pairs there are."""
    eer: float
    """Where as many genuine pairs are refused as impostors are accepted."""
    eer_between: Interval
    roc: tuple[tuple[float, float, float], ...]
    """FAR, TAR and threshold, from strict to lax."""
    drawn: str
    """What the intervals were drawn from: people or pairs."""


def trials(
    similarities: npt.NDArray[np.floating], same: npt.NDArray[np.bool_], people: Numbers | None = None
) -> Trials:
    """The comparisons of a list of pairs: `(n,)` similarities, `(n,)` whether each shows one person, `(n, 2)` who they are."""
    order = np.argsort(-similarities, kind="stable")
    scores, same = similarities[order].astype(np.float64), same[order]
    if people is None:
        return Trials(genuine=scores[same], impostors=scores[~same])
    ids, numbers = np.unique(people[order], return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    return Trials(
        genuine=scores[same],
        impostors=scores[~same],
        genuine_people=numbers[same, 0],
        impostor_people=numbers[~same],
        people=len(ids),
    )


def all_against_all(vectors: npt.NDArray[np.float32], people: npt.NDArray[np.integer], share: float = 0.1) -> Trials:
    """Every picture compared with every other one, once.

    `vectors` `(n, dim)` of length 1, rows of zeros where no face was found; `people` `(n,)`. Of the impostor pairs the
    most similar `share` is listed, which is enough for every rate below it.
    """
    ids, numbers, photos = np.unique(people, return_inverse=True, return_counts=True)
    found = np.abs(vectors).sum(axis=1) > 0
    pairs = _crossings(photos.astype(np.float64))
    keep = max(1000, int(share * pairs))
    genuine: list[tuple[Floats, Numbers]] = []
    impostors: list[tuple[Floats, Numbers, Numbers]] = []
    bar = -np.inf
    for start in range(0, len(vectors), 512):
        rows = np.arange(start, min(start + 512, len(vectors)))
        scores = (vectors[rows] @ vectors[start:].T).astype(np.float64)
        scores[~(found[rows, None] & found[None, start:])] = MISSED
        later = np.arange(start, len(vectors))[None] > rows[:, None]
        alike = numbers[rows, None] == numbers[None, start:]
        at = np.nonzero(later & alike)
        genuine.append((scores[at], numbers[rows[at[0]]]))
        at = np.nonzero(later & ~alike & (scores > bar))
        impostors.append((scores[at], numbers[rows[at[0]]], numbers[start + at[1]]))
        if sum(len(part[0]) for part in impostors) > 4 * keep:
            impostors = [_highest(impostors, keep)]
            bar = float(impostors[0][0][-1])
    top, first, second = _highest(impostors, keep)
    similar = np.concatenate([part[0] for part in genuine])
    order = np.argsort(-similar, kind="stable")
    return Trials(
        genuine=similar[order],
        impostors=top,
        genuine_people=np.concatenate([part[1] for part in genuine])[order],
        impostor_people=np.stack([first, second], axis=1),
        people=len(ids),
        photos=photos.astype(np.int64),
    )


def rates(of: Trials, wanted: tuple[float, ...] = (1e-2, 1e-3, 1e-4), rounds: int = ROUNDS, seed: int = 0) -> Rates:
    """Error rates with intervals from `rounds` drawings. ValueError if one of the two kinds is missing."""
    if not len(of.genuine) or not len(of.impostors):
        raise ValueError("error rates need pairs of one person and pairs of two")
    measurable = tuple(far for far in wanted if far * of.impostor_count >= 1)
    ones = np.ones(len(of.genuine)), np.ones(len(of.impostors)), float(of.impostor_count)
    at_rest = [_tar(of, *ones, far) for far in measurable]
    drawn = np.array(
        [
            [*(_tar(of, *weights, far)[0] for far in measurable), _eer(of, *weights)]
            for weights in draws(of, rounds, seed)
        ]
    ).reshape(-1, len(measurable) + 1)
    between = [interval(drawn[:, column]) for column in range(drawn.shape[1])]
    return Rates(
        genuine=len(of.genuine),
        impostors=of.impostor_count,
        missed=int(np.count_nonzero(of.genuine == MISSED)),
        tar=tuple(
            Tar(far=far, tar=tar, threshold=bar, accepted=accepted, between=ends)
            for far, (tar, bar, accepted), ends in zip(measurable, at_rest, between, strict=False)
        ),
        not_measured=tuple(far for far in wanted if far not in measurable),
        eer=_eer(of, *ones),
        eer_between=between[-1],
        roc=_roc(of),
        drawn="pairs" if of.genuine_people is None else "people",
    )


def draws(of: Trials, rounds: int, seed: int) -> Iterator[Weights]:
    """Weights of genuine pairs and of impostor pairs, and that of all impostor pairs, `rounds` times, from drawing anew."""
    rand = np.random.default_rng(seed)
    if of.genuine_people is None or of.impostor_people is None:
        for _ in range(rounds):
            genuine, impostors = (
                rand.multinomial(n, np.full(n, 1 / n)).astype(np.float64) for n in (len(of.genuine), len(of.impostors))
            )
            yield genuine, impostors, float(len(of.impostors))
        return
    for _ in range(rounds):
        times = rand.multinomial(of.people, np.full(of.people, 1 / of.people)).astype(np.float64)
        genuine, impostors = times[of.genuine_people], times[of.impostor_people].prod(axis=1)
        total = impostors.sum() if of.photos is None else _crossings(times * of.photos)
        if genuine.any() and total:
            yield genuine, impostors, float(total)


def tar_at(of: Trials, far: float) -> float:
    """The share of genuine pairs accepted where at most the share `far` of impostor pairs is."""
    return _tar(of, np.ones(len(of.genuine)), np.ones(len(of.impostors)), float(of.impostor_count), far)[0]


def tar_drawn(of: Trials, far: float, rounds: int = ROUNDS, seed: int = 0) -> Floats:
    """`tar_at` for each drawing, `(rounds,)`. Two models on the same pictures get the same drawings, so that the interval of
    their difference leaves out what both find easy or hard."""
    return np.array([_tar(of, *weights, far)[0] for weights in draws(of, rounds, seed)])


def interval(values: Floats) -> Interval:
    """The middle 95% of what drawing gave."""
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high


def _crossings(weights: Floats) -> float:
    """Pairs of pictures of different people, from the number of pictures of each."""
    return float(weights.sum() ** 2 - (weights**2).sum()) / 2


def _highest(parts: list[tuple[Floats, Numbers, Numbers]], count: int) -> tuple[Floats, Numbers, Numbers]:
    scores, first, second = (np.concatenate([part[column] for part in parts]) for column in range(3))
    order = np.argsort(-scores, kind="stable")[:count]
    return scores[order], first[order], second[order]


def _tar(of: Trials, genuine: Floats, impostors: Floats, total: float, far: float) -> tuple[float, float, int]:
    """TAR, the threshold, and how many impostor pairs are above it: as many as `far` of them allows, at most."""
    # A millionth of a pair more, since 0.001 · 3000 is not quite 3.
    accepted = int(np.searchsorted(np.cumsum(impostors), far * total + 1e-6, side="right"))
    if accepted == len(impostors):
        bar = MISSED
    else:
        bar = float(of.impostors[accepted])
        accepted = int(np.searchsorted(-of.impostors, -bar))  # of equals either all are above it or none
    return float(genuine[: np.searchsorted(-of.genuine, -bar)].sum() / genuine.sum()), bar, accepted


def _eer(of: Trials, genuine: Floats, impostors: Floats, total: float) -> float:
    """Where the two rates of errors cross, between the two genuine scores next to it in a straight line."""
    refused = 1 - np.cumsum(genuine) / genuine.sum()
    above = np.concatenate(([0.0], np.cumsum(impostors)))
    accepted = above[np.searchsorted(-of.impostors, -of.genuine, side="right")] / total
    crossed = int(np.argmax(accepted >= refused))  # the last refuses nobody, so there is one
    if crossed == 0:
        return float((accepted[0] + refused[0]) / 2)
    before = refused[crossed - 1] - accepted[crossed - 1]
    after = accepted[crossed] - refused[crossed]
    share = before / (before + after) if before + after > 0 else 1.0
    return float(refused[crossed - 1] + share * (refused[crossed] - refused[crossed - 1]))


def _roc(of: Trials) -> tuple[tuple[float, float, float], ...]:
    """At most some two hundred points, evenly spaced in the logarithm of FAR."""
    listed = len(of.impostors)
    counts = np.unique(np.concatenate(([0], np.geomspace(1, listed, 200))).astype(np.int64))
    points = []
    for count in counts[counts < listed].tolist():
        bar = float(of.impostors[count])
        far = float(np.searchsorted(-of.impostors, -bar)) / of.impostor_count
        points.append((far, float(np.searchsorted(-of.genuine, -bar)) / len(of.genuine), bar))
    return tuple(dict.fromkeys(points))
