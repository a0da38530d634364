"""Open-set identification: of a face, who in the gallery is it, if anybody?

Terms are those of ISO/IEC 19795-1 and of NIST's FRVT 1:N (Grother, Ngan, Hanaoka, NISTIR 8271, 2019). A *mated* probe shows
somebody of the gallery, a *non-mated* one a stranger. At a threshold `t`

    FPIR(t) = share of non-mated probes of which anybody of the gallery is more similar than t
    FNIR(t) = share of mated probes of which their own person is not the most similar, or not more similar than t

CMC(k) is the share of mated probes of which their own person is among the k most similar, without a threshold. A probe
without a face finds nobody. Intervals are as in `evaluation/trials.py`: 95% from drawing the probes' people with replacement.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.evaluation.trials import MISSED, ROUNDS, Floats, Interval, Numbers, interval

Fusion = Literal["best", "mean", "weighted"]
"""What several faces of one person become: the similarity to the best of them; to their mean; to their mean weighted by the
square of their quality, as tracks are (`stages/template.py`)."""
_RANKS = (1, 2, 3, 5, 10, 20, 50, 100)


class Searches(Struct, frozen=True, kw_only=True, eq=False):
    """What the gallery said about each probe."""

    best: Floats
    """`(n,)` similarity of the most similar person; `MISSED` without a face."""
    own: Floats
    """`(n,)` similarity of the probe's own person; `MISSED` for strangers, and without a face."""
    rank: Numbers
    """`(n,)` how many people are at least as similar as the own one, itself counted; 0 for strangers."""
    person: Numbers
    """`(n,)` whom the probe shows, for drawing."""


class Fnir(Struct, frozen=True, kw_only=True):
    """How many known people are missed where strangers are taken for somebody at a stated rate."""

    fpir: float
    fnir: float
    between: Interval
    threshold: float
    accepted: int
    """Strangers above the threshold. Below ten the rate rests on few of them."""

    @property
    def few(self) -> bool:
        """Whether so few strangers were accepted that others may give another rate."""
        return self.accepted < 10


class Identification(Struct, frozen=True, kw_only=True):
    """What open-set searches say about a model."""

    people: int
    """In the gallery."""
    mated: int
    non_mated: int
    missed: int
    """Mated probes without a face."""
    fnir: tuple[Fnir, ...]
    not_measured: tuple[float, ...]
    """Rates wanted that are rarer than one of the strangers there are."""
    cmc: tuple[tuple[int, float], ...]
    """Rank, and the share of mated probes found up to it."""
    det: tuple[tuple[float, float], ...]
    """FPIR and FNIR, from strict to lax."""


def search(
    gallery: tuple[npt.NDArray[np.float32], Numbers, Floats],
    probes: tuple[npt.NDArray[np.float32], Numbers],
    fusion: Fusion = "best",
) -> Searches:
    """Compare probes with a gallery.

    `gallery` are vectors `(m, dim)` of length 1, whose they are `(m,)`, and their quality `(m,)`, 0..1; `probes` vectors
    `(n, dim)` and whose they are. Rows of zeros are pictures without a face. ValueError if the gallery has no face at all.
    """
    vectors, owners, quality = gallery
    seen = np.abs(vectors).sum(axis=1) > 0
    if not seen.any():
        raise ValueError("the gallery has no face")
    ids, of = np.unique(owners[seen], return_inverse=True)
    faces = vectors[seen]
    if fusion != "best":
        weights = np.maximum(quality[seen], 1e-3) ** 2 if fusion == "weighted" else np.ones(len(faces))
        sums = np.zeros((len(ids), faces.shape[1]))
        np.add.at(sums, of, faces * weights[:, None])
        faces = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        of = np.arange(len(ids))
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(len(ids)))
    asked, people = probes
    found = np.abs(asked).sum(axis=1) > 0
    best, own = np.full(len(asked), MISSED), np.full(len(asked), MISSED)
    rank = np.zeros(len(asked), np.int64)
    column = np.searchsorted(ids, people)
    known = (column < len(ids)) & (ids[np.minimum(column, len(ids) - 1)] == people)
    for first in range(0, len(asked), 256):
        rows = np.arange(first, min(first + 256, len(asked)))
        similar = np.maximum.reduceat((asked[rows] @ faces.T)[:, order], starts, axis=1).astype(np.float64)
        best[rows] = np.where(found[rows], similar.max(axis=1), MISSED)
        mated = rows[known[rows]]
        mine = similar[mated - first, column[mated]]
        rank[mated] = np.where(found[mated], (similar[mated - first] >= mine[:, None]).sum(axis=1), len(ids) + 1)
        own[mated] = np.where(found[mated], mine, MISSED)
    # Who has a folder in the gallery and no face in it is still somebody who should have been found.
    enrolled = np.isin(people, owners)
    rank[enrolled & ~known] = len(ids) + 1
    return Searches(best=best, own=own, rank=rank, person=people)


def identification(
    of: Searches, people: int, wanted: tuple[float, ...] = (1e-1, 1e-2, 1e-3), rounds: int = ROUNDS, seed: int = 0
) -> Identification:
    """Rates of searches in a gallery of so many `people`. ValueError without mated, or without non-mated probes."""
    mated = of.rank > 0
    if mated.all() or not mated.any():
        missing = "of strangers" if mated.all() else "of people of the gallery"
        raise ValueError(f"there are no probes {missing}; both kinds are needed")
    right = np.where(of.rank == 1, of.own, MISSED)[mated]
    strangers = -np.sort(-of.best[~mated])
    count = len(strangers)
    measurable = tuple(fpir for fpir in wanted if fpir * count >= 1)
    drawn = fnir_drawn(of, measurable, rounds, seed)
    rows = []
    for column, fpir in enumerate(measurable):
        threshold = _threshold(strangers, fpir * count)
        rows.append(
            Fnir(
                fpir=fpir,
                fnir=float((right <= threshold).mean()),
                between=interval(drawn[:, column]),
                threshold=threshold,
                accepted=int((strangers > threshold).sum()),
            )
        )
    bars = strangers[np.unique(np.geomspace(1, count, 100).astype(int)) - 1]
    ranks = of.rank[mated]
    return Identification(
        people=people,
        mated=int(mated.sum()),
        non_mated=count,
        missed=int((of.best[mated] == MISSED).sum()),
        fnir=tuple(rows),
        not_measured=tuple(fpir for fpir in wanted if fpir not in measurable),
        cmc=tuple((k, float((ranks <= k).mean())) for k in _RANKS if k <= people),
        det=tuple((float((strangers > bar).mean()), float((right <= bar).mean())) for bar in bars.tolist()),
    )


def _threshold(strangers: Floats, allowed: float) -> float:
    """The lowest score that at most so many of the scores, which fall, are above."""
    at = int(allowed + 1e-6)
    return float(strangers[at]) if at < len(strangers) else MISSED


def fnir_drawn(of: Searches, wanted: tuple[float, ...], rounds: int = ROUNDS, seed: int = 0) -> Floats:
    """FNIR at each FPIR of `wanted` for each drawing, `(rounds, len(wanted))`. Searches of the same probes get the same
    drawings, so that the interval of their difference leaves out what is easy or hard for both."""
    mated = of.rank > 0
    rand = np.random.default_rng(seed)
    ids, numbers = np.unique(of.person, return_inverse=True)
    right = np.where(of.rank == 1, of.own, MISSED)[mated]
    order = np.argsort(-of.best[~mated], kind="stable")
    strangers, whose = of.best[~mated][order], numbers[~mated][order]
    rates = []
    for _ in range(rounds):
        times = rand.multinomial(len(ids), np.full(len(ids), 1 / len(ids)))
        weights, mine = times[whose], times[numbers[mated]]
        if not weights.any() or not mine.any():
            continue
        above = np.cumsum(weights)
        row = []
        for fpir in wanted:
            at = int(np.searchsorted(above, fpir * above[-1] + 1e-6, side="right"))
            bar = strangers[at] if at < len(strangers) else MISSED
            row.append(float(np.average(right <= bar, weights=mine)))
        rates.append(row)
    return np.array(rates).reshape(len(rates), len(wanted))
