"""From the nearest faces to the nearest people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from vultus.index.contract import Candidates
from vultus.index.denials import Denials
from vultus.index.embedding import check_dim
from vultus.index.errors import GalleryBusy
from vultus.index.loading import bound_to, vectors_of
from vultus.index.storage import Connection
from vultus.index.vectors import NOBODY, similarities_of

_MORE = 16
"""Factor by which more faces are fetched for a probe whose first ones belong to too few people."""
_BUDGET = 1 << 22
"""Faces fetched at once for all probes together; bounds memory."""
_PAIRS = 4096
"""Of a probe and a face whose vectors are beside each other in memory at a time."""
_FACES_COMPARED = 64
"""Of one person's faces that are too near each other for the index to tell which is best, so many are looked at."""

_ATTEMPTS = 16
NO_FACE = -1
_NO_ONE = np.iinfo(np.int64).min

_T = TypeVar("_T")

Ranked = tuple[int, int, float]
"""Face, its person or `NOBODY`, similarity."""
Read = Callable[[list[int]], np.ndarray]
"""Returns the vectors of faces, ascending, from the database, `(n, dim)` float32."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is asked for each probe."""

    k: int
    threshold: float | None = None
    grouped: bool = True
    """Each person once, by the best face, and faces without a person; or faces, whose ever they are."""
    mask: np.ndarray | None = None
    """Which rows of the index to look at; none: all."""
    left_out: frozenset[int] = frozenset()
    """People to pass over in the answer, not masked: there are few among the nearest, and a mask is a pass over all."""
    denials: Denials = Denials()
    besides: np.ndarray | None = None
    """For each probe a face to pass over, the one that is searched by, or `NO_FACE`, `(n,)` int64; none: no faces."""


def rank(index: Candidates, probes: np.ndarray, wanted: Wanted, read: Read) -> list[list[Ranked]]:
    """Return for each probe the best `k` people or faces that reach the threshold, and the one that would come next.

    The next one is there if there is one more at all and the answer is not empty. `probes` are `(n, dim)` float32 of
    length 1. Ties go to the older face. Of a kind that reads every row, the answer is that of a full sort, whatever
    FAISS's rounding and however many faces the nearest person has: a probe is decided when the last one is better
    than the last face fetched could be, else more faces are fetched. Of a kind that scans codes first, it is so among
    the candidates, and more are fetched until there are enough people.
    """
    total = len(index) if wanted.mask is None else int(np.count_nonzero(wanted.mask))
    answers: list[list[Ranked]] = [[] for _ in probes]
    if not total or not len(probes):
        return answers
    check_dim(probes, index.dim, "probes")
    undecided, fetch = list(range(len(probes))), min(total, max(4 * wanted.k + 32, index.fewest))
    while undecided:
        later: list[int] = []
        step = max(1, _BUDGET // fetch)
        for start in range(0, len(undecided), step):
            part = undecided[start : start + step]
            besides = None if wanted.besides is None else wanted.besides[part]
            tried = _among_nearest(index, probes[part], fetch, replace(wanted, besides=besides), read)
            for probe, (best, bound) in zip(part, tried, strict=True):
                answers[probe] = best
                whole = _is_whole(best, wanted)
                worst = best[-1][2] if whole else None if best else wanted.threshold
                done = whole and not index.exhaustive
                if not done and (worst is None or bound >= worst) and fetch < total:
                    later.append(probe)
        undecided, fetch = later, min(total, fetch * _MORE)
    return answers


def _is_whole(best: list[Ranked], wanted: Wanted) -> bool:
    """Whether an answer has its `k` and the next one, or ends with one that does not reach the threshold."""
    if len(best) > wanted.k:
        return True
    return bool(best) and wanted.threshold is not None and best[-1][2] < wanted.threshold


def _among_nearest(
    index: Candidates, probes: np.ndarray, fetch: int, wanted: Wanted, read: Read
) -> Iterator[tuple[list[Ranked], float]]:
    """Rank the best `fetch` faces; yield for each probe the best people among them, and how near any other face is.

    That bound is the last face's similarity, plus the index's error; it is infinite where the index found fewer.
    """
    rough, rows = index.search(probes, fetch, wanted.mask)
    faces, people = index.faces[rows], index.people[rows]
    held, own = index.rows is not None, np.zeros(faces.shape, bool)
    if wanted.besides is not None:
        own = faces == wanted.besides[:, None]
    found = np.where(own, -np.inf, rough)
    exact = index.exact(probes, rows) if held else _compared(index, probes, found, faces, people, own, wanted, read)
    exact[own] = -np.inf
    order = np.lexsort((faces, -exact), axis=-1) + rows.shape[1] * np.arange(len(probes))[:, None]
    sorted_faces, sorted_people, similarities = (part.ravel()[order].tolist() for part in (faces, people, exact))
    bounds = np.where(rows[:, -1] < 0, np.inf, rough[:, -1] + index.error).tolist()
    for at, bound in enumerate(bounds):
        refused = wanted.denials.judge(probes[at], read)
        yield _best(sorted_faces[at], sorted_people[at], similarities[at], wanted, refused), bound


def _compared(
    index: Candidates,
    probes: np.ndarray,
    rough: np.ndarray,
    faces: np.ndarray,
    people: np.ndarray,
    own: np.ndarray,
    wanted: Wanted,
    read: Read,
) -> np.ndarray:
    """Return the similarities to the vectors of the database where they may make the answer, -inf elsewhere."""
    people = np.where(own, _NO_ONE, people)  # so that it does not stand for its person's other faces
    contenders = _contenders(rough.astype(np.float64), people, wanted, index.error)
    exact = np.full(rough.shape, -np.inf, np.float32)
    of, (listed, back) = np.nonzero(contenders)[0], np.unique(faces[contenders], return_inverse=True)
    if not len(of):
        return exact
    vectors, near = read(listed.tolist()), np.empty(len(of), np.float32)
    for start in range(0, len(of), _PAIRS):
        part = slice(start, start + _PAIRS)
        near[part] = similarities_of(probes[of[part]], vectors[back[part], None])[:, 0]
    exact[contenders] = near
    return exact


def _contenders(rough: np.ndarray, people: np.ndarray, wanted: Wanted, error: float) -> np.ndarray:
    """Mark those of descending `rough` similarities whose faces may belong to the answer or come next, all `(n, m)`."""
    reach = -2.0 if wanted.threshold is None else wanted.threshold - error
    concerned = wanted.denials.concerning(people)
    admitted = rough >= -2.0
    if wanted.left_out:
        admitted &= concerned | ~np.isin(people, list(wanted.left_out))
    rank, best = _ranks(rough, people) if wanted.grouped else (np.zeros(people.shape, np.int64), rough)
    counted = admitted & (rank == 0) & ~concerned  # who is concerned may be refused in the end
    enough = counted & ((np.cumsum(counted, axis=1) > wanted.k) | (rough < reach))
    last = np.take_along_axis(rough, enough.argmax(axis=1)[:, None], axis=1)
    # Whoever pushes the last one out is at most two errors behind.
    least = np.where(enough.any(axis=1, keepdims=True), last - 2 * error, -2.0)
    some = (admitted & (rough >= reach)).any(axis=1, keepdims=True)
    of_person = (rank < _FACES_COMPARED) & (rough >= best - 2 * error)
    return np.asarray(admitted & of_person & (rough >= least) & some)


def _ranks(rough: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of the same person stand before each place, and the similarity of that person's first."""
    places = np.arange(people.shape[1])
    order = np.argsort(people, axis=1, kind="stable")
    together = np.take_along_axis(people, order, axis=1)
    begins = (np.diff(together, axis=1, prepend=together[:, :1] - 1) != 0) | (together == NOBODY)
    begun = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    rank, best = np.empty_like(order), np.empty_like(rough)
    np.put_along_axis(rank, order, places - begun, axis=1)
    np.put_along_axis(best, order, np.take_along_axis(rough, np.take_along_axis(order, begun, axis=1), axis=1), axis=1)
    return rank, best


def _best(
    faces: list[int],
    people: list[int],
    similarities: list[float],
    wanted: Wanted,
    refused: Callable[[int, float], bool],
) -> list[Ranked]:
    """Return the first `k` of sorted faces and the next one, of each person only the first if they are grouped."""
    best: list[Ranked] = []
    kept: dict[int, bool] = {}
    reach = -2.0 if wanted.threshold is None else wanted.threshold
    for face, person, similarity in zip(faces, people, similarities, strict=True):
        if similarity < -2.0 or (similarity < reach and not best):  # -inf: nothing was found or compared
            break
        if person == NOBODY and NOBODY in wanted.left_out:
            continue
        if person != NOBODY:
            if wanted.grouped and person in kept:
                continue
            if person not in kept:
                kept[person] = not refused(person, similarity) and person not in wanted.left_out
            if not kept[person]:
                continue
        best.append((face, person, similarity))
        if len(best) > wanted.k or similarity < reach:
            break
    return best


def reaching(ranked: list[Ranked], k: int, threshold: float | None) -> list[Ranked]:
    """Return what `rank` found without the one that would come next."""
    return [one for one in ranked[:k] if threshold is None or one[2] >= threshold]


class Moved(Exception):
    """A face or a person that was looked at has been deleted, merged or given a name since."""


def retried(attempt: Callable[[], _T], place: object) -> _T:
    """Return what `attempt` does, which is made again where it raises Moved. Raises GalleryBusy after many times."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(Moved):
            return attempt()
    raise GalleryBusy(f"people of {place} were deleted, merged or named {_ATTEMPTS} times meanwhile; try again")


def people_near(index: Candidates, probes: np.ndarray, wanted: Wanted, read: Read) -> list[list[tuple[int, float]]]:
    """Return for each probe the people that `rank` finds, as `Candidates.people` has them, and their similarities."""
    ranked = rank(index, probes, wanted, read)
    return [[(person, near) for _, person, near in reaching(row, wanted.k, wanted.threshold)] for row in ranked]


def reader(connection: Connection) -> Read:
    """Return what `rank` reads vectors by; it raises Moved if one of the faces has been deleted."""

    def read(faces: list[int]) -> np.ndarray:
        vectors = vectors_of(connection, bound_to(connection)[2] or 1, faces)
        if vectors is None:
            raise Moved
        return vectors

    return read
