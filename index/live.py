"""The index in memory and how it follows the database, whoever writes to that.

All changes, our own included, reach the index through the journal: there is one way in, so every process and every
thread sees the same thing. The first search loads the index; opening a gallery only to list people costs nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vultus.index import journal, snapshot
from vultus.index.errors import GalleryCorrupt
from vultus.index.journal import Change, Point
from vultus.index.locks import ReadWriteLock
from vultus.index.store import Store
from vultus.index.vectors import NOBODY, VectorIndex

_log = logging.getLogger("vultus.index")

_FEW_CHANGES = 1024
"""Replaying so many faces takes milliseconds; fewer do not make `close` write a snapshot."""
_SHARE = 0.1
"""Nor does a smaller share of all faces than this."""
_CHUNK = 8192
_LAST = 2**63 - 1
_GONE = -1
_LENGTH_ERROR = 1e-4
"""Of the square of a stored vector's length; rounding makes it 1e-6 at most."""


class LiveIndex:
    """The vector index of a gallery, brought up to date on demand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.folder / snapshot.NAME
        self._following = threading.Lock()
        self._lock = ReadWriteLock()
        self._index: VectorIndex | None = None
        self._point = Point(-1, -1)
        self.origin = "not loaded"
        """Where the index came from: "snapshot", "database", or "not loaded"."""

    def catch_up(self, connection: sqlite3.Connection) -> None:
        """Make the index show everything that was committed before this call."""
        if self._index is not None and journal.newest(connection) == self._point:
            return
        with self._following:
            connection.execute("BEGIN")  # one state of the database for journal and vectors
            try:
                self._follow(connection)
            finally:
                connection.execute("ROLLBACK")

    def _follow(self, connection: sqlite3.Connection) -> None:
        newest = journal.newest(connection)
        if newest == self._point:
            return
        index, changes = self._index, None
        if index is not None and index.dim == bound_to(connection)[2]:
            changes = journal.since(connection, self._point)
            if changes is None:
                _log.warning("the gallery %s was put back to another state; reloading it", self._store.folder)
        if index is None or changes is None:
            index, self.origin = load(connection, self._store.folder)
            with self._lock.writing():
                self._index, self._point = index, newest
            return
        chunks = added_faces(connection, index.dim, changes)
        with self._lock.writing():
            try:
                apply(index, changes, chunks)
            except BaseException:
                self._index = None  # half applied (out of memory, say): the next search loads it anew
                raise
            self._point = newest

    @contextlib.contextmanager
    def reading(self) -> Iterator[VectorIndex]:
        """Lend the index for searching; it does not change meanwhile. `catch_up` comes first."""
        with self._lock.reading():
            if self._index is None:
                raise RuntimeError("the index was never caught up with the database")
            yield self._index

    def digest(self) -> int:
        """Return the CRC of what the index holds."""
        with self._following, self.reading() as index:
            return index.digest()

    def write_snapshot(self, *, wait: bool) -> bool:
        """Write the current state as a snapshot; false if another process is doing so and `wait` is not set."""
        with snapshot.only_one(self._store.folder, wait=wait) as alone:
            if not alone:
                return False
            with self._store.read() as connection:
                self.catch_up(connection)
                uid, model, dim = bound_to(connection)
            if dim is None:
                return True
            with self._following, self.reading() as index:
                snapshot.write(self._path, index, uid, model, self._point)
            return True

    def snapshot_due(self) -> bool:
        """Whether the snapshot on disk misses so much that closing should write one, or holds faces deleted since."""
        with self._store.read() as connection:
            (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()
            try:
                header = snapshot.read_header(self._path)
            except snapshot.Unusable:
                return bool(faces >= _FEW_CHANGES or self._path.exists())
            if self.origin == "database" or journal.since(connection, header.point) is None:
                return True
            changed, gone = journal.faces_since(connection, header.point.seq)
            return gone > 0 or changed >= max(_FEW_CHANGES, _SHARE * faces)


def bound_to(connection: sqlite3.Connection) -> tuple[bytes, str | None, int | None]:
    """Return uid, model and dim of the gallery."""
    row: tuple[bytes, str | None, int | None] = connection.execute("SELECT uid, model, dim FROM gallery").fetchone()
    return row


def load(connection: sqlite3.Connection, folder: Path) -> tuple[VectorIndex, str]:
    """Return an index equal to the state that `connection`'s transaction sees, and where it came from.

    It is made from the snapshot and the changes after it; from the database alone if anything is wrong with that.
    """
    uid, model, dim = bound_to(connection)
    if dim is None:
        return VectorIndex(1), "database"
    begun = time.perf_counter()
    path = folder / snapshot.NAME
    try:
        index, header = snapshot.load(path, uid, model, dim)
        changes = journal.since(connection, header.point)
        if changes is None:
            raise snapshot.Unusable("it is of a state that this database never had, or has no longer")
        apply(index, changes, added_faces(connection, dim, changes))
        (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()  # an index is counted, not the vectors
        if len(index) != faces:
            raise snapshot.Unusable(f"with it the index has {len(index)} faces, the database {faces}")
        origin = "snapshot"
    except snapshot.Unusable as reason:
        level = logging.WARNING if path.exists() else logging.DEBUG
        _log.log(level, "the snapshot %s is not used: %s; reading the database instead", path, reason)
        index, origin = VectorIndex(dim), "database"
        for chunk in faces_between(connection, dim, 0, _LAST):
            index.add(*chunk)
    _log.debug("%d faces loaded from the %s in %.3f s", len(index), origin, time.perf_counter() - begun)
    return index, origin


Chunk = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Faces, people and vectors, as `VectorIndex.add` wants them."""


def faces_between(connection: sqlite3.Connection, dim: int, first: int, last: int) -> Iterator[Chunk]:
    """Read the faces with numbers from `first` to `last`, as they are now. Raises GalleryCorrupt for a bad vector."""
    cursor = connection.execute(
        "SELECT v.face, ifnull(f.identity, ?), v.vector FROM vectors v JOIN faces f ON f.id = v.face "
        "WHERE v.face BETWEEN ? AND ? ORDER BY v.face",
        (NOBODY, first, last),
    )
    while rows := cursor.fetchmany(_CHUNK):
        faces, people, blobs = zip(*rows, strict=True)
        vectors, bad = unpack(blobs, dim)
        if len(bad):
            raise GalleryCorrupt(
                f"the vector of face {faces[bad[0]]} is damaged; `Gallery.verify` lists all such faces, "
                "remove them or restore a backup"
            )
        yield np.array(faces, np.int64), np.array(people, np.int64), vectors


def unpack(blobs: Sequence[bytes], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return stored vectors as `(n, dim)` float32, and which of them have another size or not the length 1."""
    vectors = np.zeros((len(blobs), dim), np.float32)
    whole = np.flatnonzero(np.array([len(blob) for blob in blobs]) == 4 * dim)
    vectors[whole] = np.frombuffer(b"".join([blobs[at] for at in whole.tolist()]), "<f4").reshape(len(whole), dim)
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.einsum("nd,nd->n", vectors, vectors)
        return vectors, np.flatnonzero(~(np.abs(squares - 1.0) <= _LENGTH_ERROR))


def added_faces(connection: sqlite3.Connection, dim: int, changes: list[Change]) -> list[Chunk]:
    """Read the faces that `changes` added and that still exist.

    Face numbers ascend with the journal, so the faces added in an unbroken part of it are one range.
    """
    added = [change for change in changes if change.kind == "added"]
    return list(faces_between(connection, dim, added[0].first, added[-1].last)) if added else []


def apply(index: VectorIndex, changes: list[Change], chunks: list[Chunk]) -> None:
    """Bring `index` to the state after `changes`; `chunks` are the `added_faces` of these changes.

    New faces come as they are at the end of all changes. For the older ones order matters only among merges: faces and
    people that are gone never come back, and nothing is merged into a person who is gone.
    """
    removed = [np.arange(change.first, change.last + 1) for change in changes if change.kind == "removed"]
    if removed:
        index.remove(np.isin(index.faces, np.concatenate(removed)))
    fate = {change.first: change.last for change in changes if change.kind == "merged"}
    fate |= {change.first: _GONE for change in changes if change.kind == "dropped"}
    if fate:
        former = sorted(fate)
        index.relabel(np.array(former), np.array([_final(fate, person) for person in former]))
        index.remove(index.people == _GONE)
    for chunk in chunks:
        index.add(*chunk)


def _final(fate: dict[int, int], person: int) -> int:
    """Follow merges of merges."""
    while person in fate:
        person = fate[person]
    return person
