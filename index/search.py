"""From the nearest faces to the nearest people, exactly."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

from vultus.index.archive import prefix_range
from vultus.index.embedding import check_dim
from vultus.index.people import to_box
from vultus.index.types import Match, Where
from vultus.index.vectors import NOBODY, VectorIndex

_MORE = 16
"""Factor by which more faces are fetched for a probe whose first ones belong to too few people."""
_EPSILON = float(np.finfo(np.float32).eps)
_BUDGET = 1 << 22
"""Faces fetched at once for all probes together; bounds memory."""

Ranked = tuple[int, int, float]
"""Face, its person or `NOBODY`, similarity."""


def rank(
    index: VectorIndex, probes: np.ndarray, k: int, threshold: float | None, mask: np.ndarray | None
) -> list[list[Ranked]]:
    """Return for each probe the best `k` people, each by the best face, among them each face without a person.

    `probes` are `(n, dim)` float32 of length 1; `mask` tells which rows to look at. Ties go to the older face. The
    answer is that of a full sort, whatever FAISS's rounding and however many faces the nearest person has: a probe is
    decided when the k-th person is better than the last face fetched could be, else more faces are fetched.
    """
    total = len(index) if mask is None else int(np.count_nonzero(mask))
    answers: list[list[Ranked]] = [[] for _ in probes]
    if not total or not len(probes):
        return answers
    check_dim(probes, index.dim, "probes")
    undecided, fetch = list(range(len(probes))), min(total, 4 * k + 32)
    while undecided:
        later: list[int] = []
        step = max(1, _BUDGET // fetch)
        for start in range(0, len(undecided), step):
            part = undecided[start : start + step]
            tried = _among_nearest(index, probes[part], fetch, mask, k, threshold)
            for probe, (best, bound) in zip(part, tried, strict=True):
                answers[probe] = best
                worst = best[-1][2] if len(best) == k else -np.inf if threshold is None else threshold
                if bound >= worst and fetch < total:
                    later.append(probe)
        undecided, fetch = later, min(total, fetch * _MORE)
    return answers


def _among_nearest(
    index: VectorIndex, probes: np.ndarray, fetch: int, mask: np.ndarray | None, k: int, threshold: float | None
) -> Iterator[tuple[list[Ranked], float]]:
    """Rank the best `fetch` faces; yield for each probe the best people among them, and how near any other face is.

    That bound is the last face's similarity, plus FAISS's rounding.
    """
    rough, rows = index.search(probes, fetch, mask)
    exact = index.exact(probes, rows)
    faces, people = index.faces[rows], index.people[rows]
    order = np.lexsort((faces, -exact), axis=-1) + fetch * np.arange(len(probes))[:, None]
    sorted_faces, sorted_people, similarities = (part.ravel()[order].tolist() for part in (faces, people, exact))
    bounds = (rough[:, -1] + index.dim * _EPSILON).tolist()
    for at, bound in enumerate(bounds):
        yield _best_of_each(sorted_faces[at], sorted_people[at], similarities[at], k, threshold), bound


def _best_of_each(
    faces: list[int], people: list[int], similarities: list[float], k: int, threshold: float | None
) -> list[Ranked]:
    """Return the first `k` of sorted faces, of each person only the first."""
    best: list[Ranked] = []
    seen: set[int] = set()
    for face, person, similarity in zip(faces, people, similarities, strict=True):
        if len(best) == k or (threshold is not None and similarity < threshold):
            break
        if person in seen:
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
        mask &= (index.people != NOBODY) == where.labelled
    return None if mask.all() else mask


def faces_where(connection: sqlite3.Connection, where: Where | None) -> np.ndarray | None:
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
    found: Iterator[tuple[int]] = connection.execute(
        f"SELECT id FROM faces WHERE {' AND '.join(terms)}",  # noqa: S608 - the terms are the literals above
        values,
    )
    return np.fromiter((number for (number,) in found), np.int64)


def describe(connection: sqlite3.Connection, ranked: list[list[Ranked]]) -> list[list[Match]] | None:
    """Turn faces into matches, or return none if one of them was deleted or given to somebody else meanwhile."""
    wanted = sorted({face for answer in ranked for face, _, _ in answer})
    rows = {
        row[0]: row
        for row in connection.execute(
            "SELECT f.id, f.identity, i.name, f.source, f.position, f.time, f.box_x, f.box_y, f.box_w, f.box_h "
            "FROM json_each(?) w JOIN faces f ON f.id = w.value LEFT JOIN identities i ON i.id = f.identity",
            (f"[{','.join(map(str, wanted))}]",),
        )
    }
    matches: list[list[Match]] = []
    for answer in ranked:
        matches.append([])
        for face, person, similarity in answer:
            row = rows.get(face)
            if row is None or (row[1] or NOBODY) != person:
                return None
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
                )
            )
    return matches
