"""SQL about sightings and their pictures. Functions that change something run inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from vultus.index.errors import GalleryCorrupt, UnknownIdentity, UnknownSighting
from vultus.index.people import MAX_CHIP, box_columns, real, to_box
from vultus.index.seal import SHOT, closed, opened
from vultus.index.storage import Connection
from vultus.index.types import Shot, Sighting


def add(connection: Connection, sighting: Sighting, shots: Sequence[Shot] = ()) -> int:
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
    _add_shots(connection, {row[0]: shots})
    return row[0]


def keep_shots(connection: Connection, shots: Mapping[int, Sequence[Shot]]) -> None:
    """Put these pictures in place of those that the sightings have; of sightings that are gone none are kept."""
    there = {
        number
        for number in shots
        if connection.execute("SELECT id FROM sightings WHERE id = ?", (number,)).fetchone() is not None
    }
    connection.executemany("DELETE FROM shots WHERE sighting = ?", ((number,) for number in sorted(there)))
    _add_shots(connection, {number: shots[number] for number in sorted(there)})


def _add_shots(connection: Connection, shots: Mapping[int, Sequence[Shot]]) -> None:
    rows = [(sighting, shot) for sighting, some in shots.items() for shot in some]
    if not rows:
        return
    for _, shot in rows:
        if not (isinstance(shot.jpeg, bytes) and 1 <= len(shot.jpeg) <= MAX_CHIP):
            raise ValueError(f"a shot is 1 to {MAX_CHIP} bytes of JPEG")
    numbers = connection.next_numbers("shots", len(rows))
    pictures = closed(connection.seal, SHOT, numbers, (shot.jpeg for _, shot in rows))
    connection.executemany(
        "INSERT INTO shots (id, sighting, time, position, quality, jpeg) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (number, sighting, real(shot.time), real(shot.position), real(shot.quality), picture)
            for number, (sighting, shot), picture in zip(numbers, rows, pictures, strict=True)
        ),
    )


def shots(connection: Connection, sighting: int) -> list[Shot]:
    """Return the pictures of a sighting, the clearest first. Raises GalleryCorrupt."""
    rows = connection.execute(
        "SELECT id, time, position, quality, jpeg FROM shots WHERE sighting = ? ORDER BY coalesce(quality, 0) DESC, id",
        (sighting,),
    ).fetchall()
    pictures = opened(connection.seal, SHOT, [row[0] for row in rows], [row[4] for row in rows])
    for (number, *_), picture in zip(rows, pictures, strict=True):
        if not picture:
            raise GalleryCorrupt(f"picture {number} of sighting {sighting} is damaged; restore a backup")
    return [
        Shot(id=number, time=time, position=position, quality=quality, jpeg=picture)
        for (number, time, position, quality, _), picture in zip(rows, pictures, strict=True)
    ]


def shot(connection: Connection, number: int) -> Shot:
    """Return a picture. Raises UnknownSighting, GalleryCorrupt."""
    row = connection.execute("SELECT sighting FROM shots WHERE id = ?", (int(number),)).fetchone()
    found = [] if row is None else [one for one in shots(connection, row[0]) if one.id == number]
    if not found:
        raise UnknownSighting(f"picture {number} of a sighting is not in the gallery, or no longer")
    return found[0]


COLUMNS = (
    "s.id, s.run, s.source, s.track, s.time, s.position, s.identity, i.name, s.similarity, "
    "s.box_x, s.box_y, s.box_w, s.box_h, s.quality, coalesce(i.hidden, 0)"
)
SIGHTINGS = "sightings s LEFT JOIN identities i ON i.id = s.identity"


def found(connection: Connection, number: int) -> Sighting:
    """Return a sighting. Raises UnknownSighting."""
    row = connection.execute(f"SELECT {COLUMNS} FROM {SIGHTINGS} WHERE s.id = ?", (int(number),)).fetchone()  # noqa: S608
    if row is None:
        raise UnknownSighting(f"sighting {number} is not in the gallery; a newer decision may have taken its place")
    return to_sighting(row)


def with_shots(connection: Connection, several: Sequence[Sighting]) -> list[Sighting]:
    """Return the sightings with the number of the clearest picture of each."""
    clearest = dict(
        connection.execute(
            "SELECT w.value, (SELECT h.id FROM shots h WHERE h.sighting = w.value "
            "ORDER BY coalesce(h.quality, 0) DESC, h.id LIMIT 1) FROM json_each(?) w",
            (json.dumps([one.id for one in several]),),
        ).fetchall()
    )
    return [replace(one, shot=clearest[one.id]) for one in several]


def listed(connection: Connection, since: int, limit: int, source: str | None, identity: int | None) -> list[Sighting]:
    """Return the sightings after the cursor `since`, oldest first."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM {SIGHTINGS} "  # noqa: S608 - constants
        "WHERE s.id > ?1 AND (?2 IS NULL OR s.source = ?2) AND (?3 IS NULL OR s.identity = ?3) ORDER BY s.id LIMIT ?4",
        (since, source, identity, limit),
    )
    return [to_sighting(row) for row in rows]


def to_sighting(row: tuple[Any, ...]) -> Sighting:
    """Return the sighting of a row of `COLUMNS`."""
    number, run, source, track, at, position, identity, name, similarity, x, y, w, h, quality, hidden = row
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
        hidden=bool(hidden),
    )
