"""SQL that describes people without a name."""

from __future__ import annotations

from vultus.index.storage import Connection
from vultus.index.types import Unknown

_SOURCES = 5


def described(connection: Connection, number: int) -> Unknown:
    """Return what is known of one who is there."""
    faces, created, hidden = connection.execute(
        "SELECT faces, created, hidden FROM identities WHERE id = ?", (number,)
    ).fetchone()
    first, last = connection.execute(
        "SELECT min(coalesce(time, created)), max(coalesce(time, created)) FROM faces WHERE identity = ?", (number,)
    ).fetchone()
    sightings, seen_first, seen_last = connection.execute(
        "SELECT count(*), min(time), max(time) FROM sightings WHERE identity = ?", (number,)
    ).fetchone()
    sources = connection.execute(
        "SELECT source FROM faces WHERE identity = ? GROUP BY source ORDER BY count(*) DESC, source LIMIT ?",
        (number, _SOURCES),
    ).fetchall()
    times = [value for value in (first, last, seen_first, seen_last) if value is not None]
    return Unknown(
        id=number,
        faces=faces,
        sightings=sightings,
        first=min(times, default=created),
        last=max(times, default=created),
        best_face=best_face(connection, number),
        sources=tuple(source for (source,) in sources),
        created=created,
        hidden=bool(hidden),
    )


def best_face(connection: Connection, number: int) -> int | None:
    """Return the face of the best quality of a person, of equals the oldest."""
    row: tuple[int] | None = connection.execute(
        "SELECT id FROM faces WHERE identity = ? ORDER BY -coalesce(quality, -1.0), id LIMIT 1", (number,)
    ).fetchone()
    return None if row is None else row[0]
