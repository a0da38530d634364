"""Checks a gallery from end to end: the database, every vector, the index in memory, the snapshot."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import numpy as np

from vultus.index import snapshot
from vultus.index.journal import Point
from vultus.index.live import LiveIndex, bound_to
from vultus.index.store import Store
from vultus.index.types import Report
from vultus.index.vectors import DIGEST_BLOCK, NOBODY, digest_block

_MOST = 20
"""Problems of one sort that are listed."""
_LENGTH_ERROR = 1e-4


def verify(store: Store, live: LiveIndex) -> Report:
    """Check the gallery and say what is wrong with it."""
    begun = time.perf_counter()
    problems: list[str] = []
    with store.read() as connection:
        connection.execute("BEGIN")
        problems += _database(connection)
        connection.execute("ROLLBACK")
        if problems:  # what cannot be read reliably cannot be compared
            return Report(faces=0, problems=tuple(problems), seconds=time.perf_counter() - begun)
        with store.frozen():
            live.catch_up(connection)
            point, in_memory = live.digest()
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM gallery").fetchone()  # pins this state for the reads below
        faces, in_database = _vectors(connection, problems)
        if not problems and in_memory != in_database:
            problems.append(f"the index in memory differs from the database at change {point.seq}; open it again")
        problems += _snapshot(store, connection, point)
        connection.execute("ROLLBACK")
    return Report(faces=faces, problems=tuple(problems), seconds=time.perf_counter() - begun)


def _database(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute(f"PRAGMA integrity_check({_MOST})"):
        if line != "ok":
            yield f"database: {line}"
    for at, (table, row, parent, _) in enumerate(connection.execute("PRAGMA foreign_key_check")):
        if at < _MOST:
            yield f"database: row {row} of {table} refers to a row of {parent} that is not there"
    for (number,) in connection.execute(
        "SELECT id FROM faces WHERE id NOT IN (SELECT face FROM vectors) LIMIT ?", (_MOST,)
    ):
        yield f"face {number} has no vector"


def _vectors(connection: sqlite3.Connection, problems: list[str]) -> tuple[int, int]:
    """Check every vector; return how many there are, and their digest."""
    dim = bound_to(connection)[2] or 0
    cursor = connection.execute(
        "SELECT v.face, ifnull(f.identity, ?), v.vector FROM vectors v JOIN faces f ON f.id = v.face ORDER BY v.face",
        (NOBODY,),
    )
    count = crc = found = 0
    while rows := cursor.fetchmany(DIGEST_BLOCK):
        faces, people, blobs = zip(*rows, strict=True)
        count += len(faces)
        sizes = np.array([len(blob) for blob in blobs])
        vectors = np.zeros((len(faces), dim), np.float32)
        whole = np.flatnonzero(sizes == 4 * dim)
        vectors[whole] = np.frombuffer(b"".join(blobs[at] for at in whole), "<f4").reshape(len(whole), dim)
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
            bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= _LENGTH_ERROR))
        problems += [
            f"face {faces[at]}: its vector has {sizes[at]} bytes and the length {lengths[at]:.6g}, "
            f"not {4 * dim} bytes and the length 1; remove the face"
            for at in bad[: max(0, _MOST - found)]
        ]
        found += len(bad)
        crc = digest_block(crc, np.array(faces, np.int64), np.array(people, np.int64), vectors)
    return count, crc


def _snapshot(store: Store, connection: sqlite3.Connection, point: Point) -> Iterator[str]:
    """Check the snapshot on disk, if there is one; its faults are harmless, but somebody should know of them."""
    path = store.folder / snapshot.NAME
    uid, model, dim = bound_to(connection)
    if not path.exists() or dim is None:
        return
    try:
        _, header = snapshot.load(path, uid, model, dim)
    except snapshot.Unusable as reason:
        yield f"snapshot {path}: {reason}; it is not used and will be replaced, `Gallery.snapshot` does so now"
        return
    if header.point.seq > point.seq:
        yield f"snapshot {path}: it is newer than the database, which was put back; it is not used and will be replaced"
