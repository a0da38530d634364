"""From the database and the snapshot to an index in memory, and from one state of it to the next."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from vultus.index import journal, kinds, snapshot
from vultus.index.errors import GalleryCorrupt
from vultus.index.journal import Change
from vultus.index.seal import VECTOR, opened
from vultus.index.storage import Connection
from vultus.index.vectors import NOBODY, VectorIndex

_log = logging.getLogger("vultus.index")

_CHUNK = 8192
_PROBES = 1024
"""Faces whose nearest people tell how many lists must be read."""
_LAST = 2**63 - 1
_WITH_VECTORS = "SELECT id FROM faces WHERE id NOT IN (SELECT face FROM lacking) ORDER BY id"
_GONE = -_LAST - 1
"""Stands for "deleted" in the array of people while changes are applied."""
_LENGTH_ERROR = 1e-4
"""Of the square of a stored vector's length; rounding makes it 1e-6 at most."""


OWNER = f"CASE WHEN i.name IS NULL THEN -COALESCE(f.identity, {NOBODY}) ELSE f.identity END"
"""SQL for the owner of a face `f`, whose identity is `i` if it has one, as the array of people holds it."""


def bound_to(connection: Connection) -> tuple[bytes, str | None, int | None]:
    """Return uid, model and dim of the gallery."""
    row: tuple[bytes, str | None, int | None] = connection.execute("SELECT uid, model, dim FROM gallery").fetchone()
    return row


def kind_for(connection: Connection, now: str | None, faces: int | None = None) -> str:
    """Return the kind that the gallery's index should have, given that of the one which is there."""
    wanted, memory, dim = connection.execute("SELECT index_kind, memory, dim FROM gallery").fetchone()
    if faces is None:
        (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()  # an index is counted, not the vectors
    kind, recall = kinds.read(wanted)
    return kinds.choose(kind, faces, dim or 1, memory, now, lists=recall is not None)


def _recall_for(connection: Connection) -> float:
    """Return how often the gallery's index should find the nearest person, if it is one that reads some lists."""
    (wanted,) = connection.execute("SELECT index_kind FROM gallery").fetchone()
    return kinds.read(wanted)[1] or kinds.RECALL


def load(connection: Connection, folder: Path) -> tuple[VectorIndex, str]:
    """Return an index equal to the state that `connection`'s transaction sees, and where it came from.

    It is made from the snapshot and the changes after it; from the database alone if anything is wrong with that, or
    if the gallery should have an index of another kind by now.
    """
    uid, model, dim = bound_to(connection)
    if dim is None:
        return VectorIndex(1), "database"
    begun = time.perf_counter()
    path = folder / snapshot.NAME
    kind = None
    try:
        (faces,) = connection.execute("SELECT (SELECT count(*) FROM faces) - (SELECT count(*) FROM lacking)").fetchone()
        kind = kind_for(connection, snapshot.read_header(path).kind, faces)
        index, header = snapshot.load(path, uid, model, dim, kind, connection.seal)
        if index.recall is not None and abs(index.recall[0] - _recall_for(connection)) > 1e-6:
            raise snapshot.Unusable(f"its lists are for a recall of {index.recall[0]}, and another is wanted")
        changes = journal.since(connection, header.point)
        if changes is None:
            raise snapshot.Unusable("it is of a state that this database never had, or has no longer")
        apply(index, news(connection, dim, changes))
        if len(index) != faces:
            raise snapshot.Unusable(f"with it the index has {len(index)} faces, the database {faces}")
        origin = "snapshot"
    except snapshot.Unusable as reason:
        level = logging.WARNING if path.exists() else logging.DEBUG
        _log.log(level, "the snapshot %s is not used: %s; reading the database instead", path, reason)
        index, origin = built(connection, kind or kind_for(connection, None)), "database"
    index.hidden = hidden_people(connection)
    _log.debug("%d faces loaded from the %s in %.3f s", len(index), origin, time.perf_counter() - begun)
    return index, origin


def built(connection: Connection, kind: str, go_on: Callable[[], bool] = lambda: True) -> VectorIndex:
    """Return an index of `kind` made from the database alone; unfinished if `go_on` says no on the way."""
    dim = bound_to(connection)[2] or 1
    index = VectorIndex(dim, kind)
    index.hidden = hidden_people(connection)
    nearest = None
    if kind != kinds.FLAT:
        faces = np.fromiter((face for (face,) in connection.execute(_WITH_VECTORS)), np.int64)
        index.train(_some(connection, dim, faces, kinds.sample_size(kind, len(faces)))[1], len(faces))
        if kinds.KINDS[kind].lists:
            nearest = _Nearest(*_some(connection, dim, faces, _PROBES))
    for chunk in faces_between(connection, dim, 0, _LAST):
        if not go_on():
            break
        index.add(*chunk)
        if nearest is not None:
            nearest.look(chunk[0], chunk[2])
    else:
        if nearest is not None:
            own, found = (np.searchsorted(index.faces, faces) for faces in (nearest.faces, nearest.found))
            index.settle(_recall_for(connection), nearest.probes, own, found)
    return index


class _Nearest:
    """The nearest other face of each probe among those that are looked at."""

    def __init__(self, faces: np.ndarray, probes: np.ndarray) -> None:
        self.faces = faces
        self.probes = probes
        self.found = faces.copy()
        self._best = np.full(len(faces), -np.inf, np.float32)

    def look(self, faces: np.ndarray, vectors: np.ndarray) -> None:
        similarities = vectors @ self.probes.T
        similarities[faces[:, None] == self.faces] = -np.inf
        at = similarities.argmax(axis=0)
        values = similarities[at, np.arange(len(at))]
        better = values > self._best
        self._best[better], self.found[better] = values[better], faces[at[better]]


def _some(connection: Connection, dim: int, faces: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return up to so many of `faces`, the same ones each time, and their vectors."""
    if len(faces) > most:
        faces = np.sort(np.random.default_rng(len(faces)).choice(faces, most, replace=False))
    vectors = vectors_of(connection, dim, faces.tolist())
    if vectors is None:
        raise GalleryCorrupt("faces have no vector; `Gallery.verify` lists them, remove them or restore a backup")
    return faces, vectors


def vectors_of(connection: Connection, dim: int, faces: list[int]) -> np.ndarray | None:
    """Return the vectors of `faces`, ascending, as `(n, dim)` float32; none if one of them is not there."""
    there, vectors = vectors_there(connection, dim, faces)
    return vectors if there == faces else None


def vectors_there(connection: Connection, dim: int, faces: list[int]) -> tuple[list[int], np.ndarray]:
    """Return which of `faces` are there, ascending, and their vectors, `(n, dim)` float32. Raises GalleryCorrupt."""
    rows = connection.packed_vectors(faces)
    there = [face for face, _ in rows]
    vectors, bad = unpack([blob for _, blob in rows], dim)
    if len(bad):
        raise _damaged(there[bad[0]])
    return there, vectors


def _damaged(face: int) -> GalleryCorrupt:
    return GalleryCorrupt(
        f"the vector of face {face} is damaged; `Gallery.verify` lists all such faces, remove them or restore a backup"
    )


Chunk = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Faces, people and vectors, as `VectorIndex.add` wants them."""


def faces_between(connection: Connection, dim: int, first: int, last: int) -> Iterator[Chunk]:
    """Read the faces with numbers from `first` to `last`, as they are now. Raises GalleryCorrupt for a bad vector."""
    cursor = connection.execute(
        f"SELECT v.face, {OWNER}, v.vector FROM vectors v JOIN faces f ON f.id = v.face "  # noqa: S608 - a constant
        "LEFT JOIN identities i ON i.id = f.identity WHERE v.face BETWEEN ? AND ? ORDER BY v.face",
        (first, last),
    )
    while rows := cursor.fetchmany(_CHUNK):
        faces, people, blobs = zip(*rows, strict=True)
        vectors, bad = unpack(opened(connection.seal, VECTOR, faces, blobs), dim)
        if len(bad):
            raise _damaged(faces[bad[0]])
        yield np.array(faces, np.int64), np.array(people, np.int64), vectors


def unpack(blobs: Sequence[bytes], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return stored vectors as `(n, dim)` float32, and which of them have another size or not the length 1."""
    if all(len(blob) == 4 * dim for blob in blobs):
        vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), dim)
    else:
        vectors = np.zeros((len(blobs), dim), np.float32)
        whole = np.flatnonzero(np.array([len(blob) for blob in blobs]) == 4 * dim)
        vectors[whole] = np.frombuffer(b"".join([blobs[at] for at in whole.tolist()]), "<f4").reshape(len(whole), dim)
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.einsum("nd,nd->n", vectors, vectors)
        return vectors, np.flatnonzero(~(np.abs(squares - 1.0) <= _LENGTH_ERROR))


class News(Struct, frozen=True, kw_only=True, eq=False):
    """What a part of the journal means for an index, with all that has to be read from the database for it."""

    removed: np.ndarray
    """Numbers of faces that are gone."""
    former: np.ndarray
    now: np.ndarray
    """People, ascending, who have other numbers now or none, and these; see `VectorIndex.relabel`."""
    moved: np.ndarray
    owners: np.ndarray
    """Faces, ascending, whose owners were read again, and these."""
    added: list[Chunk]
    hidden: frozenset[int] | None
    """Those hidden now; none if nothing happened that could have changed it."""


def news(
    connection: Connection, dim: int, changes: list[Change], handed: Callable[[int], np.ndarray | None] = lambda _: None
) -> News:
    """Read what `apply` needs to bring an index over `changes`, in the transaction that they end in.

    `handed` may have the vectors of an `added` row, by its mark, which then are not read.
    """
    removed = [np.arange(change.first, change.last + 1) for change in changes if change.kind == "removed"]
    former, now = _relabelled(connection, changes)
    moved, owners = _moved(connection, [change for change in changes if change.kind == "moved"])
    touched = any(change.kind in ("hidden", "renamed", "merged", "dropped") for change in changes)
    return News(
        removed=np.concatenate(removed) if removed else np.empty(0, np.int64),
        former=former,
        now=now,
        moved=moved,
        owners=owners,
        added=list(_added(connection, dim, [change for change in changes if change.kind == "added"], handed)),
        hidden=hidden_people(connection) if touched else None,
    )


def _added(
    connection: Connection, dim: int, changes: list[Change], handed: Callable[[int], np.ndarray | None]
) -> Iterator[Chunk]:
    """Yield the faces of `added` rows of an unbroken part of the journal, whose numbers ascend, as they are now."""
    first = None
    for change in changes:
        vectors = handed(change.point.mark)
        if first is None:
            first = change.first
        if vectors is not None:
            yield from faces_between(connection, dim, first, change.first - 1) if first < change.first else ()
            yield _owned(connection, change, vectors)
            first = change.last + 1
    if first is not None and first <= changes[-1].last:
        yield from faces_between(connection, dim, first, changes[-1].last)


def _owned(connection: Connection, change: Change, vectors: np.ndarray) -> Chunk:
    """Return those of the faces of an `added` row that are still there, with the vectors that they came with."""
    # In one row: a statement lets the interpreter's lock go and waits for it again at each.
    rows = connection.execute(
        f"SELECT json_group_array(id), json_group_array(owner) FROM (SELECT f.id, {OWNER} AS owner FROM faces f "  # noqa: S608
        "LEFT JOIN identities i ON i.id = f.identity WHERE f.id BETWEEN ? AND ? ORDER BY f.id)",
        (change.first, change.last),
    )
    faces, people = (np.array(json.loads(numbers), np.int64) for numbers in rows.fetchone())
    return faces, people, vectors[faces - change.first]


def apply(index: VectorIndex, news: News) -> None:
    """Bring `index` to the state that `news` was read in.

    New and moved faces come as they are at the end of all changes. For the others order matters only among merges:
    faces and people that are gone never come back, and nothing is merged into a person who is gone.
    """
    if len(news.removed):
        index.remove(np.isin(index.faces, news.removed))
    if len(news.former):
        index.relabel(news.former, news.now)
        index.remove(index.people == _GONE)
    index.reassign(news.moved, news.owners)
    for chunk in news.added:
        index.add(*chunk)
    if news.hidden is not None:
        index.hidden = news.hidden


def hidden_people(connection: Connection) -> frozenset[int]:
    """Return the hidden people, those without a name negated."""
    rows = connection.execute("SELECT CASE WHEN name IS NULL THEN -id ELSE id END FROM identities WHERE hidden = 1")
    return frozenset(person for (person,) in rows)


def _relabelled(connection: Connection, changes: list[Change]) -> tuple[np.ndarray, np.ndarray]:
    """Return who is to be known by which number now: merged, deleted, named or no longer named people."""
    fate = {change.first: change.last for change in changes if change.kind == "merged"}
    fate |= {change.first: _GONE for change in changes if change.kind == "dropped"}
    renamed = {change.first for change in changes if change.kind == "renamed"}
    final = {person: _final(fate, person) for person in fate.keys() | renamed}
    if not final:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    listed = json.dumps(sorted(set(final.values()) - {_GONE}))
    query = "SELECT id FROM identities WHERE name IS NULL AND id IN (SELECT value FROM json_each(?))"
    nameless = {person for (person,) in connection.execute(query, (listed,))}
    people = sorted(final)
    ends = np.array([-final[person] if final[person] in nameless else final[person] for person in people], np.int64)
    before = np.array(people, np.int64)
    return np.concatenate((-before[::-1], before)), np.concatenate((ends[::-1], ends))


def _final(fate: dict[int, int], person: int) -> int:
    """Follow merges of merges."""
    while person in fate:
        person = fate[person]
    return person


def _moved(connection: Connection, changes: list[Change]) -> tuple[np.ndarray, np.ndarray]:
    """Read the owners of all faces in the ranges of `changes`; returns faces, ascending, and owners."""
    owners: dict[int, int] = {}
    for first, last in {(change.first, change.last) for change in changes}:
        owners.update(
            connection.execute(
                f"SELECT f.id, {OWNER} FROM faces f LEFT JOIN identities i ON i.id = f.identity "  # noqa: S608
                "WHERE f.id BETWEEN ? AND ?",
                (first, last),
            )
        )
    faces = np.array(sorted(owners), np.int64)
    return faces, np.array([owners[face] for face in faces.tolist()], np.int64)
