"""Checks a gallery from end to end: the database, every vector, the index in memory, the snapshot."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from vultus.index import journal, snapshot
from vultus.index.errors import GalleryCorrupt
from vultus.index.live import LiveIndex
from vultus.index.loading import OWNER, bound_to, hidden_people, unpack
from vultus.index.people import miscounted
from vultus.index.seal import VECTOR, opened
from vultus.index.storage import Connection
from vultus.index.store import Store
from vultus.index.types import Report
from vultus.index.vectors import DIGEST_BLOCK, digest_block

_MOST = 20
"""Problems of one sort that are listed."""


def verify(store: Store, live: LiveIndex) -> Report:
    """Check the gallery and say what is wrong with it."""
    begun = time.perf_counter()
    faces = 0
    with store.read() as connection, store.read() as other:
        problems = list(_database(connection))
        if not problems:  # what cannot be read reliably cannot be compared
            with store.frozen():
                connection.execute("BEGIN")
                newest = journal.newest(connection)  # pins this state for all reads below
                in_memory, encode = _index(live, other, problems)
            faces, in_database = _vectors(connection, problems, encode)
            if in_memory is not None and in_memory != in_database:
                problems.append(f"the index in memory differs from the database at change {newest.seq}; open it again")
            problems += miscounted(connection, _MOST)
            problems += _snapshot(store, connection)
    return Report(faces=faces, problems=tuple(problems), seconds=time.perf_counter() - begun)


def _database(connection: Connection) -> Iterator[str]:
    try:
        for (line,) in connection.execute(f"PRAGMA integrity_check({_MOST})"):
            if line != "ok":
                yield f"database: {line}"
        for table, row, parent, _ in islice(connection.execute("PRAGMA foreign_key_check"), _MOST):
            yield f"database: row {row} of {table} refers to a row of {parent} that is not there"
        lacking = (
            "SELECT id FROM faces WHERE id NOT IN (SELECT face FROM vectors UNION SELECT face FROM lacking) LIMIT ?"
        )
        for (number,) in connection.execute(lacking, (_MOST,)):
            yield f"face {number} has no vector"
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        yield f"database: {error}"


Encode = Callable[[np.ndarray], np.ndarray]
"""Makes of vectors `(n, dim)` what the index holds of them."""


def _index(live: LiveIndex, connection: Connection, problems: list[str]) -> tuple[int | None, Encode | None]:
    """Return the digest of the index in memory and its encoding, or none if it cannot be made."""
    try:
        live.catch_up(connection)
        with live.reading() as index:
            if index.hidden != hidden_people(connection):
                problems.append("the index in memory knows other people as hidden than the database; open it again")
    except GalleryCorrupt as error:
        problems.append(str(error))
        return None, None
    return live.digest()


def _vectors(connection: Connection, problems: list[str], encode: Encode | None) -> tuple[int, int]:
    """Check every vector; return how many there are, and their digest."""
    dim = bound_to(connection)[2] or 0
    cursor = connection.execute(
        f"SELECT v.face, {OWNER}, v.vector FROM vectors v JOIN faces f ON f.id = v.face "  # noqa: S608 - a constant
        "LEFT JOIN identities i ON i.id = f.identity ORDER BY v.face"
    )
    count = crc = found = 0
    while rows := cursor.fetchmany(DIGEST_BLOCK):
        faces, people, blobs = zip(*rows, strict=True)
        blobs = tuple(opened(connection.seal, VECTOR, faces, blobs))
        vectors, bad = unpack(blobs, dim)
        problems += [
            f"face {faces[at]}: its vector has {len(blobs[at])} bytes and the length "
            f"{np.linalg.norm(vectors[at]):.6g}, not {4 * dim} bytes and the length 1; remove the face"
            for at in bad[: max(0, _MOST - found)]
        ]
        count, found = count + len(faces), found + len(bad)
        if encode is not None:
            crc = digest_block(crc, np.array(faces, np.int64), np.array(people, np.int64), encode(vectors))
    return count, crc


def _snapshot(store: Store, connection: Connection) -> Iterator[str]:
    """Check the snapshot on disk, if there is one; its faults are harmless, but somebody should know of them."""
    path = store.folder / snapshot.NAME
    uid, model, dim = bound_to(connection)
    if not path.exists() or dim is None:
        return
    remedy = "it is not used and will be replaced when the gallery is closed; `Gallery.snapshot` does so now"
    try:
        _, header = snapshot.load(path, uid, model, dim, snapshot.read_header(path).kind, connection.seal)
    except snapshot.Unusable as reason:
        yield f"snapshot {path}: {reason}; {remedy}"
        return
    connection.execute("ROLLBACK")  # a snapshot that another process has just written may be newer than our state
    if journal.since(connection, header.point) is None:
        yield f"snapshot {path}: it is of a state that this database never had, or has no longer; {remedy}"
