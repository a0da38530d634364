"""How similar strangers are to the people of a gallery, and what follows: threshold, error rates, probabilities.

A probe of a stranger is at least `s` similar to `L(s)` enrolled people on average. These are few among many, so their number
is taken to follow Poisson's law: the stranger is taken for somebody at a threshold `t` with the probability
`FPIR(t) = 1 - exp(-L(t))`, and `L` grows in proportion to the number of people. Above the 90th percentile of the best
impostor scores `FPIR` is a generalised Pareto tail (peaks over threshold; Coles, An Introduction to Statistical Modeling of
Extreme Values, 2001, chapter 4), fitted by L-moments (Hosking and Wallis, Technometrics 29, 1987, equation 7). Its shape is
held in [0, 1/2]: below 0 there would be a similarity that no stranger could ever reach, which so few scores cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace

from vultus.index.storage import Connection

FEWEST_PEOPLE = 20
FEWEST_SCORES = 100
FEWEST_GENUINE = 30
GROWTH = 1.25
"""A gallery with so many times the people is to be calibrated anew."""
_TAIL = 0.1
_FEWEST_IN_TAIL = 25
_BY_CHANCE = 0.05
"""Pairs are set aside that are so similar that so many galleries would have one by chance."""
_ROUNDS = 200
_QUANTILES = np.linspace(0.0, 1.0, 101)
_BIN = 0.02
_USUAL = 0.001
"""Rate of false alarms, if nobody says one."""
_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}

Period = Literal["hour", "day", "week", "month", "year"]
Rate = Annotated[float, Meta(gt=0.0, lt=1.0)]


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user wants of a threshold: a rate of false alarms, or one alarm in so long a time at so much traffic."""

    fpir: Rate | None = None
    """Of the faces of strangers, the share that may be taken for somebody (false-positive identification rate)."""
    one_false_alarm_per: Period | None = None
    faces_per_day: Annotated[float, Meta(gt=0.0)] | None = None
    """Faces searched for, counted as if all of them were strangers."""
    known: Rate = 0.5
    """Share of all faces that are expected to be of people of the gallery; probabilities depend on it."""

    def __post_init__(self) -> None:
        traffic = (self.one_false_alarm_per, self.faces_per_day)
        if (self.fpir is None) == (None in traffic) or (self.fpir is not None and traffic != (None, None)):
            raise ValueError("say either the rate (fpir), or one_false_alarm_per and faces_per_day")
        if not 0.0 < self.rate < 1.0:
            raise ValueError(f"one false alarm a {self.one_false_alarm_per} is more than one for every face")

    @property
    def rate(self) -> float:
        """The false-positive identification rate that is wanted."""
        if self.fpir is not None:
            return self.fpir
        assert self.one_false_alarm_per is not None
        assert self.faces_per_day is not None
        return 1.0 / (self.faces_per_day * _DAYS[self.one_false_alarm_per])


def policy(
    before: Calibration | None,
    *,
    fpir: float | None = None,
    one_false_alarm_per: Period | None = None,
    faces_per_day: float | None = None,
    known: float | None = None,
) -> Policy:
    """What a user wants who says so much: the rest as in the calibration `before`, at first a rate of 0.001.

    Raises ValueError for what is no policy.
    """
    share = known if known is not None else before.policy.known if before else 0.5
    values: dict[str, object] = {"known": share}
    if fpir is None and one_false_alarm_per is None and faces_per_day is None:
        values |= {"fpir": _USUAL} if before is None else msgspec.to_builtins(before.policy) | {"known": share}
    else:
        values |= {"fpir": fpir, "one_false_alarm_per": one_false_alarm_per, "faces_per_day": faces_per_day}
    try:
        return msgspec.convert(values, Policy)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


class Tail(Struct, frozen=True, kw_only=True):
    """`FPIR(s) = share * (1 + shape * (s - start) / scale) ** (-1 / shape)` from `start` on."""

    start: float
    share: float
    scale: float
    shape: float

    def above(self, similarity: float) -> float:
        """Share of strangers' best scores at or above `similarity`, which is at least `start`."""
        x = (similarity - self.start) / self.scale
        return self.share * (math.exp(-x) if self.shape < 1e-6 else (1 + self.shape * x) ** (-1 / self.shape))

    def reached_by(self, share: float) -> float:
        """The similarity that this share of strangers' best scores reaches; `share` is at most that of the tail."""
        more = self.share / share
        return self.start + self.scale * (math.log(more) if self.shape < 1e-6 else (more**self.shape - 1) / self.shape)


class Calibration(Struct, frozen=True, kw_only=True):
    """What was measured in a gallery, and the threshold that follows from a policy."""

    policy: Policy
    at: float
    """When, seconds since the epoch."""
    identities: int
    """People who were compared, each with a name."""
    faces: int
    """Their faces."""
    impostors: int = 0
    """Scores of faces to the most similar other person, as far as they were used."""
    set_aside: int = 0
    """Scores left out because the two are probably one person, or a face has the wrong name."""
    genuine: int = 0
    """Scores of faces to the most similar other picture of the same person."""
    why_not: str | None = None
    """Why there is no threshold of this gallery's own."""
    threshold: float | None = None
    threshold_between: tuple[float, float] | None = None
    """95% confidence interval, from drawing the people anew 200 times (bootstrap)."""
    fpir_between: tuple[float, float] | None = None
    """Of the rate at the threshold, likewise."""
    fnir: float | None = None
    """Share of faces of enrolled people that the threshold does not recognise; none without genuine scores."""
    tail: Tail | None = None
    quantiles: tuple[float, ...] = ()
    """Of the impostor scores, 0 to 100%."""
    log_ratio: tuple[float, float] | None = None
    """`a`, `b`: the density of genuine scores at `s` over that of impostor scores is `exp(a + b s)`."""
    bins: tuple[tuple[float, int, int], ...] = ()
    """Histogram: lower end of a bin of 0.02, impostor and genuine scores in it."""

    @property
    def extrapolated(self) -> float:
        """How many times rarer the wanted rate is than what ten scores could show; 1 or less: it was measured."""
        return 10.0 / (self.policy.rate * self.impostors) if self.impostors else math.inf

    def fpir(self, similarity: float, identities: int | None = None) -> float:
        """Return the rate at a threshold, of a gallery with so many people (none: as it was)."""
        below = 1.0 - self._above(similarity)
        if below <= 0.0:
            return 1.0
        return -math.expm1(math.log(below) * self._growth(identities))

    def threshold_for(self, rate: float, identities: int | None = None) -> float:
        """Return the threshold for a rate, of a gallery with so many people. ValueError if none was calibrated."""
        if self.tail is None:
            raise ValueError(self.why_not or "there is no calibration")
        share = -math.expm1(math.log1p(-rate) / self._growth(identities))
        if share <= self.tail.share:
            return min(1.0, self.tail.reached_by(share))
        return float(np.interp(1.0 - share, _QUANTILES, self.quantiles))

    def probabilities(self, similarities: Sequence[float]) -> list[float] | None:
        """Return for each person of an answer how probable it is that the probe shows this person.

        `similarities` are those of all people of the answer, best first. With `q = policy.known`,
        `x = exp(a + b s) * H(s)`, where `H = 1 - FPIR` makes of the density of the best impostor the rate of impostors at
        `s`, the probability of the i-th is `q x_i / (1 - q + q * sum(x))`: Bayes' rule, with q shared out evenly among the
        people and everybody beyond the answer counting for nothing. None without genuine scores.
        """
        if self.log_ratio is None:
            return None
        a, b = self.log_ratio
        known = self.policy.known
        x = [math.exp(min(a + b * s, 500.0)) * (1.0 - self._above(s)) for s in similarities]
        return [known * one / (1.0 - known + known * sum(x)) for one in x]

    def _above(self, similarity: float) -> float:
        if self.tail is None:
            return 0.0
        if similarity >= self.tail.start:
            return self.tail.above(similarity)
        return 1.0 - float(np.interp(similarity, self.quantiles, _QUANTILES))

    def _growth(self, identities: int | None) -> float:
        # A face was compared with all people but its own.
        return (self.identities if identities is None else identities) / max(self.identities - 1, 1)


_decoder = msgspec.json.Decoder(Calibration)


def calibrated(
    policy: Policy,
    at: float,
    counts: tuple[int, int],
    impostors: tuple[np.ndarray, np.ndarray],
    genuine: np.ndarray,
    different: np.ndarray,
) -> Calibration:
    """Return what follows from scores; the same scores give the same answer.

    `counts` are people and faces of the gallery, `impostors` the scores `(n,)` and whose faces they are `(n,)` int64,
    `genuine` the scores `(m,)`; `different` `(n,)` bool tells which impostors a user has confirmed to be such.
    """
    scores, people = impostors
    empty = Calibration(policy=policy, at=at, identities=counts[0], faces=counts[1], genuine=len(genuine))
    why_not = _too_few(counts[0], len(scores))
    if why_not is not None:
        return replace(empty, impostors=len(scores), why_not=why_not, bins=_histogram(scores, genuine))
    kept = different | (scores < _beyond_chance(scores))
    used, owners = scores[kept], people[kept]
    tail = fitted(used)
    found = replace(
        empty,
        impostors=len(used),
        set_aside=int(np.count_nonzero(~kept)),
        tail=tail,
        quantiles=tuple(np.quantile(used, _QUANTILES).tolist()),
        log_ratio=_log_ratio(genuine, used) if len(genuine) >= FEWEST_GENUINE else None,
        bins=_histogram(used, genuine),
    )
    threshold = found.threshold_for(policy.rate)
    thresholds, rates = _drawn_anew(found, used, owners, threshold)
    return replace(
        found,
        threshold=threshold,
        threshold_between=thresholds,
        fpir_between=rates,
        fnir=float(np.mean(genuine < threshold)) if len(genuine) >= FEWEST_GENUINE else None,
    )


def kept(connection: Connection) -> Calibration | None:
    """Return the calibration that a gallery keeps."""
    row = connection.execute("SELECT result FROM calibration").fetchone()
    return None if row is None else _decoder.decode(row[0])


def fitted(scores: np.ndarray) -> Tail:
    """Fit the tail of best impostor scores `(n,)`, at least `FEWEST_SCORES`."""
    ordered = np.sort(scores)
    count = max(_FEWEST_IN_TAIL, int(_TAIL * len(ordered)))
    start = float(ordered[-count - 1])
    over = ordered[-count:] - start
    mean = max(float(over.mean()), 1e-6)
    second = max(2 * float((np.arange(count) / (count - 1) * over).mean()) - mean, 1e-6)  # a sample's second L-moment
    shape = min(max(2.0 - mean / second, 0.0), 0.5)
    return Tail(start=start, share=count / len(ordered), scale=mean * (1.0 - shape), shape=shape)


def _too_few(people: int, scores: int) -> str | None:
    if people < FEWEST_PEOPLE:
        return f"{people} people have names; {FEWEST_PEOPLE} are needed to tell how similar strangers are"
    if scores < FEWEST_SCORES:
        return f"there are {scores} faces of people with names; {FEWEST_SCORES} are needed"
    return None


def _beyond_chance(scores: np.ndarray) -> float:
    """Return the similarity from which on a pair is no chance, by an exponential tail through the median, which does not
    mind the few that are none."""
    ordered = np.sort(scores)
    count = max(_FEWEST_IN_TAIL, int(_TAIL * len(ordered)))
    start = ordered[-count - 1]
    scale = max(float(np.median(ordered[-count:]) - start) / math.log(2), 1e-6)
    return float(start + scale * math.log(count / _BY_CHANCE))


def _drawn_anew(
    found: Calibration, scores: np.ndarray, people: np.ndarray, threshold: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the 95% intervals of the threshold, and of the rate at `threshold`, from drawing people with replacement."""
    rand = np.random.default_rng(0)
    order = np.argsort(people, kind="stable")
    _, starts = np.unique(people[order], return_index=True)
    groups = np.split(scores[order], starts[1:])
    thresholds, rates = [], []
    for _ in range(_ROUNDS):
        drawn = np.concatenate([groups[at] for at in rand.integers(len(groups), size=len(groups))])
        if len(drawn) < FEWEST_SCORES:
            continue
        again = replace(found, tail=fitted(drawn), quantiles=tuple(np.quantile(drawn, _QUANTILES).tolist()))
        thresholds.append(again.threshold_for(found.policy.rate))
        rates.append(again.fpir(threshold))
    low, high = np.quantile(thresholds, (0.025, 0.975)).tolist() if thresholds else (threshold, threshold)
    least, most = np.quantile(rates, (0.025, 0.975)).tolist() if rates else (0.0, 1.0)
    return (low, high), (least, most)


def _log_ratio(genuine: np.ndarray, impostors: np.ndarray) -> tuple[float, float]:
    """Fit `a`, `b` by logistic regression, both kinds with the same weight and softened targets.

    Platt, Probabilistic outputs for support vector machines, 1999; Newton's method from (0, 0).
    """
    x = np.concatenate((genuine, impostors)).astype(np.float64)
    high, low = (len(genuine) + 1) / (len(genuine) + 2), 1 / (len(impostors) + 2)
    target = np.where(np.arange(len(x)) < len(genuine), high, low)
    weight = np.where(np.arange(len(x)) < len(genuine), 0.5 / len(genuine), 0.5 / len(impostors))
    middle = float((genuine.mean() + impostors.mean()) / 2)
    design = np.stack((np.ones(len(x)), x - middle), axis=1)
    ab = np.zeros(2)
    for _ in range(50):
        guess = 1 / (1 + np.exp(-np.clip(design @ ab, -500, 500)))
        slope = design.T @ (weight * (target - guess))
        curve = design.T @ (design * (weight * guess * (1 - guess))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        ab += step * min(1.0, 20.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return float(ab[0] - ab[1] * middle), float(ab[1])


def _histogram(impostors: np.ndarray, genuine: np.ndarray) -> tuple[tuple[float, int, int], ...]:
    if not len(impostors) and not len(genuine):
        return ()
    everything = np.concatenate((impostors, genuine))
    first, last = math.floor(everything.min() / _BIN), math.floor(everything.max() / _BIN)
    edges = np.arange(first, last + 2) * _BIN
    counts = [np.histogram(part, edges)[0].tolist() for part in (impostors, genuine)]
    return tuple((round(float(edge), 2), *both) for edge, both in zip(edges, zip(*counts, strict=True), strict=False))
