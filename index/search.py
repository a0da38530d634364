"""From the nearest faces to the nearest people."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vultus.index.archive import prefix_range
from vultus.index.embedding import check_dim
from vultus.index.loading import bound_to, vectors_of
from vultus.index.people import to_box
from vultus.index.storage import Connection
from vultus.index.types import Match, Where
from vultus.index.vectors import NOBODY, VectorIndex, similarities_of

_MORE = 16
"""Factor by which more faces are fetched for a probe whose first ones belong to too few people."""
_BUDGET = 1 << 22
"""Faces fetched at once for all probes together; bounds memory."""
_FACES_COMPARED = 64
"""Of one person's faces that are too near each other for the index to tell which is best, so many are looked at."""

Ranked = tuple[int, int, float]
"""Face, its person or `NOBODY`, similarity."""


def rank(
    index: VectorIndex,
    probes: np.ndarray,
    k: int,
    threshold: float | None,
    mask: np.ndarray | None,
    read: Callable[[list[int]], np.ndarray],
    left_out: frozenset[int] = frozenset(),
) -> list[list[Ranked]]:
    """Return for each probe the best `k` people, each by the best face, among them each face without a person.

    `probes` are `(n, dim)` float32 of length 1; `mask` tells which rows to look at, `left_out` whom to pass over; `read`
    returns the vectors of faces from the database. Ties go to the older face. Of a kind that reads every row, the answer
    is that of a full sort, whatever FAISS's rounding and however many faces the nearest person has: a probe is decided
    when the k-th person is better than the last face fetched could be, else more faces are fetched. Of a kind that scans
    codes first, it is so among the candidates, and more are fetched until there are k people.
    """
    total = len(index) if mask is None else int(np.count_nonzero(mask))
    answers: list[list[Ranked]] = [[] for _ in probes]
    if not total or not len(probes):
        return answers
    check_dim(probes, index.dim, "probes")
    undecided, fetch = list(range(len(probes))), min(total, max(4 * k + 32, index.fewest))
    while undecided:
        later: list[int] = []
        step = max(1, _BUDGET // fetch)
        for start in range(0, len(undecided), step):
            part = undecided[start : start + step]
            tried = _among_nearest(index, probes[part], fetch, mask, k, threshold, read, left_out)
            for probe, (best, bound) in zip(part, tried, strict=True):
                answers[probe] = best
                worst = best[-1][2] if len(best) == k else -np.inf if threshold is None else threshold
                open_end = bound >= worst if index.exhaustive else len(best) < k and not bound < worst
                if open_end and fetch < total:
                    later.append(probe)
        undecided, fetch = later, min(total, fetch * _MORE)
    return answers


def _among_nearest(
    index: VectorIndex,
    probes: np.ndarray,
    fetch: int,
    mask: np.ndarray | None,
    k: int,
    threshold: float | None,
    read: Callable[[list[int]], np.ndarray],
    left_out: frozenset[int],
) -> Iterator[tuple[list[Ranked], float]]:
    """Rank the best `fetch` faces; yield for each probe the best people among them, and how near any other face is.

    That bound is the last face's similarity, plus the index's error; it is infinite where the index found fewer.
    """
    rough, rows = index.search(probes, fetch, mask)
    faces, people = index.faces[rows], index.people[rows]
    if index.rows is None:
        exact = _compared(index, probes, rough, faces, people, k, threshold, read, left_out)
    else:
        exact = index.exact(probes, rows)
    order = np.lexsort((faces, -exact), axis=-1) + rows.shape[1] * np.arange(len(probes))[:, None]
    sorted_faces, sorted_people, similarities = (part.ravel()[order].tolist() for part in (faces, people, exact))
    bounds = np.where(rows[:, -1] < 0, np.inf, rough[:, -1] + index.error).tolist()
    for at, bound in enumerate(bounds):
        yield _best_of_each(sorted_faces[at], sorted_people[at], similarities[at], k, threshold, left_out), bound


def _compared(
    index: VectorIndex,
    probes: np.ndarray,
    rough: np.ndarray,
    faces: np.ndarray,
    people: np.ndarray,
    k: int,
    threshold: float | None,
    read: Callable[[list[int]], np.ndarray],
    left_out: frozenset[int],
) -> np.ndarray:
    """Return the similarities to the vectors of the database where they may make the answer, -inf elsewhere."""
    contenders = [
        _contenders(*row, k, threshold, index.error, left_out)
        for row in zip(rough.tolist(), people.tolist(), strict=True)
    ]
    wanted = sorted({int(faces[at, place]) for at, places in enumerate(contenders) for place in places})
    exact = np.full(rough.shape, -np.inf, np.float32)
    if not wanted:
        return exact
    vectors, known = read(wanted), np.array(wanted)
    for at, places in enumerate(contenders):
        if places:
            of_probe = vectors[np.searchsorted(known, faces[at, places])]
            exact[at, places] = similarities_of(probes[at : at + 1], of_probe[None])[0]
    return exact


def _contenders(
    rough: list[float], people: list[int], k: int, threshold: float | None, error: float, left_out: frozenset[int]
) -> list[int]:
    """Return the places of descending `rough` similarities whose faces may be the best of one of the `k` best people."""
    least = -2.0 if threshold is None else threshold - error
    best: dict[int, float] = {}
    compared: dict[int, int] = {}
    places, found = [], 0
    for place, (similarity, person) in enumerate(zip(rough, people, strict=True)):
        if similarity < least:
            break
        if person in left_out:
            continue
        if person == NOBODY or person not in best:
            found += 1
            if found == k:  # whoever is to push this one out is at most two errors behind
                least = max(least, similarity - 2 * error)
            best[person], compared[person] = similarity, 1
        elif similarity < best[person] - 2 * error or compared[person] == _FACES_COMPARED:
            continue
        else:
            compared[person] += 1
        places.append(place)
    return places


def _best_of_each(
    faces: list[int],
    people: list[int],
    similarities: list[float],
    k: int,
    threshold: float | None,
    left_out: frozenset[int],
) -> list[Ranked]:
    """Return the first `k` of sorted faces, of each person only the first."""
    best: list[Ranked] = []
    seen: set[int] = set()
    least = -2.0 if threshold is None else threshold  # -inf stands where nothing was found or compared
    for face, person, similarity in zip(faces, people, similarities, strict=True):
        if len(best) == k or similarity < least:
            break
        if person in seen or person in left_out:
            continue
        if person != NOBODY:
            seen.add(person)
        best.append((face, person, similarity))
    return best


def mask_of(index: VectorIndex, where: Where | None, found: np.ndarray | None) -> np.ndarray | None:
    """Return which rows `where` admits, or none if it admits all; `found` is what `faces_where` returned."""
    if where is None:
        return None
    mask = np.ones(len(index), bool) if found is None else np.isin(index.faces, found)
    if where.labelled is not None:  # answered from memory: every sighting of a camera asks it
        mask &= (index.people > NOBODY) == where.labelled
    if where.hidden:
        mask &= np.isin(index.people, np.fromiter(index.hidden, np.int64, len(index.hidden)))
    return None if mask.all() else mask


def left_out(index: VectorIndex, where: Where | None) -> frozenset[int]:
    """Return the people whom `where` does not want to see: those hidden, unless it asks for them.

    They are passed over in the answer and not masked: there are few among the nearest faces, and a mask is a pass over
    all.
    """
    return index.hidden if where is None or where.hidden is False else frozenset()


def faces_where(connection: Connection, where: Where | None) -> np.ndarray | None:
    """Return the numbers of the faces that fit source and times of `where`, or none if it does not ask for these."""
    if where is None or (where.source, where.after, where.before) == (None, None, None):
        return None
    terms, values = list[str](), list[object]()
    if where.source is not None:
        terms.append("source >= ? AND source < ?")
        values += prefix_range(where.source)
    if where.after is not None:
        terms.append("time >= ?")
        values.append(where.after)
    if where.before is not None:
        terms.append("time < ?")
        values.append(where.before)
    found = connection.execute(
        f"SELECT id FROM faces WHERE {' AND '.join(terms)}",  # noqa: S608 - the terms are the literals above
        values,
    )
    return np.fromiter((number for (number,) in found), np.int64)


class Moved(Exception):
    """A face that was found has been deleted or given to somebody else since the index was caught up."""


def reader(connection: Connection) -> Callable[[list[int]], np.ndarray]:
    """Return what `rank` reads vectors by; it raises Moved if one of the faces has been deleted."""

    def read(faces: list[int]) -> np.ndarray:
        vectors = vectors_of(connection, bound_to(connection)[2] or 1, faces)
        if vectors is None:
            raise Moved
        return vectors

    return read


def describe(connection: Connection, ranked: list[list[Ranked]]) -> list[list[Match]]:
    """Turn faces into matches. Raises Moved if one of them was deleted or given to somebody else meanwhile."""
    wanted = sorted({face for answer in ranked for face, _, _ in answer})
    rows = {
        row[0]: row
        for row in connection.execute(
            "SELECT f.id, f.identity, i.name, f.source, f.position, f.time, f.box_x, f.box_y, f.box_w, f.box_h, i.hidden "
            "FROM json_each(?) w JOIN faces f ON f.id = w.value LEFT JOIN identities i ON i.id = f.identity",
            (f"[{','.join(map(str, wanted))}]",),
        )
    }
    matches: list[list[Match]] = []
    for answer in ranked:
        matches.append([])
        for face, person, similarity in answer:
            row = rows.get(face)
            if row is None or (row[1] or NOBODY) * (-1 if row[2] is None else 1) != person:
                raise Moved
            matches[-1].append(
                Match(
                    identity=row[1],
                    name=row[2],
                    similarity=similarity,
                    source=row[3],
                    face_id=face,
                    position=row[4],
                    time=row[5],
                    box=to_box(*row[6:10]),
                    hidden=bool(row[10]),
                )
            )
    return matches
