"""Which unknown person a face belongs to: the rule, without a database.

A face joins the person whose centre it is nearest to, if it is near enough; else it founds a new unknown person. The
centre is the mean of the person's first good faces, so that neither one look-alike (as with the nearest face alone) nor
a long row of faces, each like the one before (as with a mean that moves on), makes two people one. Blurred faces resemble
each other more than their people; they may join, but found nobody and do not count for the centre. Two unknown people
whose centres are nearer still are one, which mends what the order of the faces has spoilt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from msgspec import Struct

VOTES = 16
"""Faces that make a centre, the oldest good ones."""
GOOD = 0.25
"""Quality from which on a face founds and counts; faces without a quality do."""
CANDIDATES = 5
"""People by the nearest face, whose centres are compared."""

_JOIN = 0.14
_MERGE = 0.06
_TENFOLD = 0.05
_FEW = 1000


class Limits(Struct, frozen=True):
    """Cosines that decide."""

    near: float
    """Two faces may be one person: candidates."""
    join: float
    """A face is the person of a centre."""
    merge: float
    """Two centres are one person."""


def limits(threshold: float, people: int) -> Limits:
    """Return the limits among so many people, given the cosine from which on two faces count as one person.

    A stranger is compared with everybody, so the more people there are, the nearer must one be. Of SFace, impostors above
    a cosine become ten times rarer with each 0.05; docs/gallery.md has the measurements behind the numbers.
    """
    join = min(0.95, threshold + _JOIN + _TENFOLD * math.log10(max(1.0, people / _FEW)))
    return Limits(near=threshold, join=join, merge=min(0.98, join + _MERGE))


class Cluster:
    """A person, as far as faces of one batch need to know."""

    __slots__ = ("_sum", "centre", "joined", "number", "shifted", "votes")

    def __init__(self, number: int | None, faces: np.ndarray) -> None:
        self.number = number
        """None of one founded in this batch."""
        self._sum = faces.sum(axis=0, dtype=np.float64)
        self.votes = len(faces)
        self.joined: list[int] = []
        """Places in the batch."""
        self.shifted = False
        """Whether the centre is another one than before; of somebody new, than that of the first face."""
        self.centre = unit(self._sum)
        """`(dim,)` float32 of length 1, zeros if nobody voted."""

    def add(self, place: int, vector: np.ndarray, *, votes: bool) -> None:
        """Take a face in."""
        self.joined.append(place)
        if votes and self.votes < VOTES:
            self._sum += vector
            self.votes += 1
            self.centre = unit(self._sum)
            self.shifted = True


class Candidate(Struct, frozen=True):
    """Somebody near a face, by the nearest face."""

    person: int
    """Negative: unknown."""
    similarity: float


def assign(
    vectors: np.ndarray,
    good: np.ndarray,
    order: Iterable[int],
    candidates: list[list[Candidate]],
    known: Mapping[int, Cluster],
    limit: Limits,
) -> list[Cluster]:
    """Decide about a batch of faces; return the clusters that faces joined or founded.

    `vectors` `(n, dim)` float32 of length 1; `good` `(n,)` bool, whether a face may found and count; `order` in which they are
    looked at, best first; `known` the unknown people among the candidates. A face that is near enough to somebody with a
    name, and no nearer to an unknown one, is left alone: users say who has which name.
    """
    founded: list[Cluster] = []
    centres = np.zeros_like(vectors)
    for place in order:
        vector, near = vectors[place], candidates[place]
        best, score = _nearest(vector, near, known)
        if founded:
            scores = centres[: len(founded)] @ vector
            at = int(np.argmax(scores))
            if scores[at] > score:
                best, score = founded[at], float(scores[at])
        named = max((one.similarity for one in near if one.person > 0), default=-1.0)
        if named >= limit.join and named >= score:
            continue
        if best is not None and score >= limit.join:
            best.add(place, vector, votes=bool(good[place]))
            if best.number is None:
                centres[founded.index(best)] = best.centre
        elif good[place]:
            centres[len(founded)] = vector
            founded.append(Cluster(None, vector[None]))
            founded[-1].joined.append(place)
    return [cluster for cluster in (*known.values(), *founded) if cluster.joined]


def _nearest(vector: np.ndarray, near: list[Candidate], known: Mapping[int, Cluster]) -> tuple[Cluster | None, float]:
    best, score = None, -1.0
    for one in near:
        cluster = known.get(-one.person)
        if cluster is not None and (similarity := float(cluster.centre @ vector)) > score:
            best, score = cluster, similarity
    return best, score


def same(centres: Mapping[int, np.ndarray], pairs: Iterable[tuple[int, int]], limit: Limits) -> list[tuple[int, int]]:
    """Return which pairs of people are one person, the nearest first; a pair is the older and the younger number."""
    found = {
        (min(pair), max(pair)): similarity
        for pair in pairs
        if pair[0] != pair[1] and (similarity := float(centres[pair[0]] @ centres[pair[1]])) >= limit.merge
    }
    return sorted(found, key=lambda pair: (-found[pair], pair))


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector at length 1, float32; zeros stay zeros."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / (length or 1.0), np.float32)
