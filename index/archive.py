"""SQL about the files of an archive and about sightings. Functions that change something run inside the caller's
transaction."""

from __future__ import annotations

import time
from typing import Any

from vultus.index import journal
from vultus.index.errors import UnknownIdentity
from vultus.index.people import box_columns, drop_empty, real, to_box
from vultus.index.storage import Connection
from vultus.index.types import FileRecord, FileState, FileStatus, KnownFile, Sighting

_LAST = 2**63 - 1


def forget_faces(connection: Connection, writer: str, source: str) -> None:
    """Delete the faces that an earlier commit of this file stored."""
    row = connection.execute("SELECT id FROM files WHERE source = ?", (source,)).fetchone()
    if row is None:
        return
    faces: dict[int, int | None] = dict(connection.execute("SELECT id, identity FROM faces WHERE file = ?", row))
    if faces:
        connection.execute("DELETE FROM faces WHERE file = ?", row)
        journal.append_removed(connection, writer, faces)
        drop_empty(connection, writer, faces.values())


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


def add_sighting(connection: Connection, sighting: Sighting) -> int:
    """Store a sighting under a new number in place of an earlier one of the same run, source and track."""
    if (
        sighting.identity is not None
        and not connection.execute("SELECT id FROM identities WHERE id = ?", (sighting.identity,)).fetchone()
    ):
        raise UnknownIdentity(f"person {sighting.identity} of this sighting is not in the gallery, or no longer")
    values = (
        sighting.run,
        sighting.source,
        sighting.track,
        real(sighting.time),
        real(sighting.position),
        sighting.identity,
        real(sighting.similarity),
        *box_columns(sighting.box),
        real(sighting.quality),
    )
    connection.execute("DELETE FROM sightings WHERE run = ? AND source = ? AND track = ?", values[:3])
    row: tuple[int] = connection.execute(
        "INSERT INTO sightings (run, source, track, time, position, identity, similarity, "
        "box_x, box_y, box_w, box_h, quality) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        values,
    ).fetchone()
    return row[0]


def forget_sightings(connection: Connection, before: float) -> int:
    """Delete sightings whose time is earlier; return how many there were."""
    return connection.execute("DELETE FROM sightings WHERE time < ?", (before,)).rowcount


def sightings(
    connection: Connection, since: int, limit: int, source: str | None, identity: int | None
) -> list[Sighting]:
    """Return the sightings after the cursor `since`, oldest first."""
    rows = connection.execute(
        "SELECT s.id, s.run, s.source, s.track, s.time, s.position, s.identity, i.name, s.similarity, "
        "s.box_x, s.box_y, s.box_w, s.box_h, s.quality FROM sightings s LEFT JOIN identities i ON i.id = s.identity "
        "WHERE s.id > ?1 AND (?2 IS NULL OR s.source = ?2) AND (?3 IS NULL OR s.identity = ?3) ORDER BY s.id LIMIT ?4",
        (since, source, identity, limit),
    )
    return [_to_sighting(row) for row in rows]


def _to_sighting(row: tuple[Any, ...]) -> Sighting:
    number, run, source, track, at, position, identity, name, similarity, x, y, w, h, quality = row
    return Sighting(
        id=number,
        run=run,
        source=source,
        track=track,
        time=at,
        position=position,
        identity=identity,
        name=name,
        similarity=similarity,
        box=to_box(x, y, w, h),
        quality=quality,
    )
