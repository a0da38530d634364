"""SQL about the files of an archive. Functions that change something run inside the caller's transaction."""

from __future__ import annotations

import time

from vultus.index.people import after_removal
from vultus.index.storage import Connection, Writer
from vultus.index.types import FileRecord, FileState, FileStatus, KnownFile

_LAST = 2**63 - 1


def forget_faces(connection: Connection, writer: Writer, source: str) -> None:
    """Delete the faces that an earlier commit of this file stored."""
    row = connection.execute("SELECT id FROM files WHERE source = ?", (source,)).fetchone()
    if row is None:
        return
    faces: dict[int, int | None] = dict(connection.execute("SELECT id, identity FROM faces WHERE file = ?", row))
    if faces:
        connection.execute("DELETE FROM faces WHERE file = ?", row)
        after_removal(connection, writer, faces)


def mark_file(connection: Connection, record: FileRecord, status: FileStatus, reason: str | None, faces: int) -> int:
    """Remember how a file ended; return its number."""
    if not record.source:
        raise ValueError("a file needs a source, the path or name it is known by")
    row: tuple[int] = connection.execute(
        "INSERT INTO files (source, size, mtime_ns, digest, label, status, reason, faces, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (source) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
        "digest = excluded.digest, label = excluded.label, status = excluded.status, reason = excluded.reason, "
        "faces = excluded.faces, at = excluded.at RETURNING id",
        (
            record.source,
            record.size,
            _storable(record.mtime_ns),
            bytes(record.digest),
            record.label,
            status,
            reason,
            faces,
            time.time(),
        ),
    ).fetchone()
    return row[0]


def state(connection: Connection, source: str, size: int, mtime_ns: int, digest: bytes | None) -> FileState:
    """Compare a file with what is remembered of it.

    Digests decide where both are known; otherwise size and time of change must both be the same.
    """
    row = connection.execute("SELECT size, mtime_ns, digest, status FROM files WHERE source = ?", (source,)).fetchone()
    if row is None:
        return "new"
    known_size, known_time, known_digest, status = row
    same = digest == known_digest if digest and known_digest else _storable(mtime_ns) == known_time
    found: FileStatus = status
    return found if same and size == known_size else "changed"


def _storable(mtime_ns: int) -> int:
    """File systems have times up to the year 2446 and beyond, SQLite integers end in 2262."""
    return max(-_LAST - 1, min(mtime_ns, _LAST))


def known(connection: Connection, below: str) -> dict[str, KnownFile]:
    """Return all remembered files whose source begins with `below`."""
    rows = connection.execute(
        "SELECT source, size, mtime_ns, status, faces, label, reason FROM files WHERE source >= ? AND source < ?",
        prefix_range(below),
    )
    return {source: KnownFile(*known) for source, *known in rows}


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the half-open range of strings that begin with `prefix`: an index can serve it, and nothing is escaped."""
    return prefix, prefix + "\U0010ffff"
