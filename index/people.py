"""SQL about people and their faces. Functions that change something run inside the caller's transaction."""

from __future__ import annotations

import json
import math
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vultus.index import acts, journal
from vultus.index.errors import GalleryCorrupt, UnknownFace, UnknownIdentity
from vultus.index.names import clean_name, folded
from vultus.index.seal import CHIP, closed, opened_chip
from vultus.index.storage import Connection, Writer
from vultus.index.types import Box, FaceRecord, Identity, Landmarks, StoredFace

MAX_CHIP = 1 << 20
_LANDMARKS = struct.Struct("<10f")

FACE_COLUMNS = (
    "f.id, f.identity, i.name, f.source, f.position, f.time, f.box_x, f.box_y, f.box_w, f.box_h, "
    "f.landmarks, f.score, f.quality, f.track, f.created, f.collection"
)
FACES = "faces f LEFT JOIN identities i ON i.id = f.identity"


def find(connection: Connection, key: int | str) -> tuple[int, str | None]:
    """Return number and name of a person given either. Raises UnknownIdentity."""
    column, value = ("name", clean_name(key)) if isinstance(key, str) else ("id", int(key))
    row: tuple[int, str | None] | None = connection.execute(
        f"SELECT id, name FROM identities WHERE {column} = ?",  # noqa: S608 - one of two literals
        (value,),
    ).fetchone()
    if row is None:
        what = f"named {value!r}" if isinstance(key, str) else f"with the number {value}"
        raise UnknownIdentity(f"nobody {what} is in the gallery")
    return row


def named(connection: Connection, name: str) -> int | None:
    """Return who has this clean name."""
    return _numbers(connection, [name]).get(name)


def ensure(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the number of each name, of clean names; people who are not there yet are made."""
    wanted = sorted(set(names))
    numbers = _numbers(connection, wanted)
    missing = [name for name in wanted if name not in numbers]
    connection.add_rows(
        "identities",
        {"name": missing, "folded": [folded(name) for name in missing], "created": [time.time()] * len(missing)},
    )
    return numbers | _numbers(connection, missing)


def _numbers(connection: Connection, names: list[str]) -> dict[str, int]:
    listed = json.dumps(names)
    return dict(
        connection.execute(
            "SELECT name, id FROM identities WHERE name IN (SELECT CAST(value AS TEXT) FROM json_each(?))", (listed,)
        )
    )


def identities(connection: Connection, *, hidden: bool | None = False) -> list[Identity]:
    """Return everybody who has a name, in the order of names: those hidden, those not, or (none) both."""
    rows = connection.execute(
        f"{_IDENTITIES} WHERE i.name IS NOT NULL AND (i.hidden = ?1 OR ?1 IS NULL) ORDER BY i.name",
        (None if hidden is None else int(hidden),),
    )
    return [_to_identity(row) for row in rows]


def identity(connection: Connection, number: int) -> Identity:
    """Return a person who is there."""
    return _to_identity(connection.execute(f"{_IDENTITIES} WHERE i.id = ?", (number,)).fetchone())


_IDENTITIES = "SELECT i.id, i.name, i.faces, i.created, i.hidden FROM identities i"


def _to_identity(row: tuple[int, str | None, int, float, int]) -> Identity:
    number, name, faces, created, hidden = row
    return Identity(id=number, name=name, faces=faces, created=created, hidden=bool(hidden))


def remove(connection: Connection, writer: Writer, key: int | str) -> None:
    """Delete a person with faces, vectors, chips and sightings."""
    number, _ = find(connection, key)
    (faces,) = connection.execute("SELECT count(*) FROM faces WHERE identity = ?", (number,)).fetchone()
    acts.forget(connection, number)
    connection.execute("DELETE FROM identities WHERE id = ?", (number,))
    journal.append(connection, writer, "dropped", number, number, faces)


def add_faces(
    connection: Connection,
    writer: Writer,
    vectors: np.ndarray,
    records: Sequence[FaceRecord],
    people: Sequence[int | None],
    file: int | None = None,
) -> list[int]:
    """Store faces with their `(n, dim)` normalised vectors; return their numbers, which ascend without gaps.

    Nobody is to change the vectors any more.
    """
    if not len(vectors):
        return []
    numbers = connection.next_numbers("faces", len(vectors))
    now = time.time()
    described = zip(*_described(records), strict=True)
    table = {"id": tuple(numbers), "identity": tuple(people), "file": (file,) * len(numbers)}
    table |= dict(zip(_DESCRIBED, described, strict=True)) | {"created": (now,) * len(numbers)}
    # A null takes longer to bind than a value: a column that is null in all rows is not mentioned.
    told = {name: values for name, values in table.items() if values.count(None) < len(values)}
    connection.add_rows("faces", told)
    count(connection, Counter(people))
    connection.add_vectors(numbers, vectors)
    pictured = {number: record.chip for number, record in zip(numbers, records, strict=True) if record.chip is not None}
    connection.executemany(
        "INSERT INTO chips VALUES (?, ?)",
        zip(pictured, closed(connection.seal, CHIP, pictured, pictured.values()), strict=True),
    )
    connection.hand_on(journal.append(connection, writer, "added", numbers[0], numbers[-1], len(numbers)), vectors)
    return list(numbers)


def remove_faces(connection: Connection, writer: Writer, faces: Sequence[int]) -> None:
    """Delete faces. Raises UnknownFace, deleting nothing, if one is not there."""
    there = owners_of(connection, faces)
    listed = json.dumps(sorted(there))
    connection.execute("DELETE FROM faces WHERE id IN (SELECT value FROM json_each(?))", (listed,))
    after_removal(connection, writer, there)


def owners_of(connection: Connection, faces: Sequence[int]) -> dict[int, int | None]:
    """Return the owner of each face. Raises UnknownFace if one is not there."""
    wanted = {int(number) for number in faces}
    listed = json.dumps(sorted(wanted))
    found: dict[int, int | None] = dict(
        connection.execute("SELECT id, identity FROM faces WHERE id IN (SELECT value FROM json_each(?))", (listed,))
    )
    missing = sorted(wanted - found.keys())
    if missing:
        raise UnknownFace(f"face {missing[0]} is not in the gallery ({len(missing)} of {len(wanted)} are not)")
    return found


def after_removal(connection: Connection, writer: Writer, faces: dict[int, int | None]) -> None:
    """Do what follows the deletion of faces, given with the owners that they had."""
    lost = Counter(faces.values())
    count(connection, {owner: -number for owner, number in lost.items()})
    journal.append_removed(connection, writer, faces)
    drop_empty(connection, writer, lost)


def count(connection: Connection, more: Mapping[int | None, int]) -> None:
    """Add to the number of faces that is kept of each person; faces of nobody are not counted."""
    alike: dict[int, list[int]] = {}
    for person, number in more.items():
        if person is not None:
            alike.setdefault(number, []).append(person)
    connection.executemany(
        "UPDATE identities SET faces = faces + ? WHERE id IN (SELECT value FROM json_each(?))",
        [(number, json.dumps(people)) for number, people in alike.items()],
    )


def miscounted(connection: Connection, most: int) -> Iterator[str]:
    """Say of whom another number of faces is kept than there are, of up to `most` people."""
    rows = connection.execute(
        "SELECT id, faces, there FROM (SELECT i.id, i.faces, (SELECT count(*) FROM faces f WHERE f.identity = i.id) AS there "
        "FROM identities i) counted WHERE faces <> there ORDER BY id LIMIT ?",
        (most,),
    )
    for number, said, there in rows:
        yield f"person {number} is said to have {said} faces, but has {there}; restore a backup"


def drop_empty(connection: Connection, writer: Writer, owners: Iterable[int | None]) -> None:
    """Delete those of the former owners of deleted faces who have no name, no face and were never sighted."""
    listed = json.dumps(sorted({owner for owner in owners if owner is not None}))
    gone = connection.execute(
        "DELETE FROM identities WHERE id IN (SELECT value FROM json_each(?)) AND name IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM faces f WHERE f.identity = identities.id) "
        "AND NOT EXISTS (SELECT 1 FROM sightings s WHERE s.identity = identities.id) RETURNING id",
        (listed,),
    ).fetchall()
    for (number,) in gone:
        acts.forget(connection, number)
        journal.append(connection, writer, "dropped", number, number, 0)


_DESCRIBED = (
    *("source", "position", "time", "box_x", "box_y", "box_w", "box_h"),
    *("landmarks", "score", "quality", "track", "collection"),
)
"""What `columns` returns, by name."""


def _described(records: Sequence[FaceRecord]) -> Iterator[tuple[object, ...]]:
    """Yield the columns of each record; those of a record that is repeated are made once."""
    before: FaceRecord | None = None
    described: tuple[object, ...] = ()
    for at, record in enumerate(records):
        if record is not before:
            before, described = record, columns(record, at)
        yield described


def columns(record: FaceRecord, index: int) -> tuple[object, ...]:
    """Return what the record puts into a row of `faces` after number, person and file; checks it."""
    try:
        if record.chip is not None and not (isinstance(record.chip, bytes) and len(record.chip) <= MAX_CHIP):
            raise ValueError(f"the chip must be at most {MAX_CHIP} bytes of JPEG")
        return (
            str(record.source),
            real(record.position),
            real(record.time),
            *box_columns(record.box),
            _pack_landmarks(record.landmarks),
            real(record.score),
            real(record.quality),
            None if record.track is None else int(record.track),
            None if record.collection is None else clean_name(record.collection, "a collection"),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"face {index} of this call: {error}") from None


def real(value: float | None) -> float | None:
    """Return a finite Python float (numpy's do not fit SQLite) or none."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def box_columns(box: Box | None) -> tuple[float | None, float | None, float | None, float | None]:
    """Return the four columns of a box."""
    if box is None:
        return None, None, None, None
    x, y, width, height = (real(value) for value in box)
    return x, y, width, height


def to_box(x: float | None, y: float | None, width: float | None, height: float | None) -> Box | None:
    """Return the box of its four columns."""
    if x is None or y is None or width is None or height is None:
        return None
    return x, y, width, height


def _pack_landmarks(points: Landmarks | None) -> bytes | None:
    if points is None:
        return None
    flat = [real(value) for point in points for value in point]
    if len(flat) != 10:
        raise ValueError(f"landmarks are five points, not {len(flat) / 2:g}")
    return _LANDMARKS.pack(*flat)


def to_landmarks(packed: bytes | None) -> Landmarks | None:
    """Return five points as they are stored."""
    if packed is None:
        return None
    v = _LANDMARKS.unpack(packed)
    return (v[0], v[1]), (v[2], v[3]), (v[4], v[5]), (v[6], v[7]), (v[8], v[9])


def faces_of(connection: Connection, person: int | None) -> list[StoredFace]:
    """Return the faces of a person (none: of nobody with a name) in the order they came, without vectors and chips."""
    whose, values = ("i.name IS NULL", ()) if person is None else ("f.identity = ?", (person,))
    rows = connection.execute(
        f"SELECT {FACE_COLUMNS} FROM {FACES} WHERE {whose} ORDER BY f.id",  # noqa: S608 - constants
        values,
    )
    return [to_face(row) for row in rows]


def face(connection: Connection, number: int) -> StoredFace:
    """Return a face with its vector and chip. Raises UnknownFace."""
    row = connection.execute(
        f"SELECT {FACE_COLUMNS}, c.jpeg FROM {FACES} LEFT JOIN chips c ON c.face = f.id WHERE f.id = ?",  # noqa: S608
        (int(number),),
    ).fetchone()
    packed = connection.packed_vectors([int(number)])
    if row is None:
        raise UnknownFace(f"face {number} is not in the gallery")
    if packed and not packed[0][1]:
        raise GalleryCorrupt(f"the vector of face {number} is damaged; remove the face or restore a backup")
    vector = np.frombuffer(packed[0][1], "<f4").astype(np.float32) if packed else None
    return to_face(row[:-1], vector, opened_chip(connection.seal, number, row[-1]))


def to_face(row: tuple[Any, ...], vector: np.ndarray | None = None, chip: bytes | None = None) -> StoredFace:
    """Return the face of a row of `FACE_COLUMNS`."""
    number, identity, name, source, position, at, x, y, w, h, landmarks, score, quality, track, created, collection = (
        row
    )
    return StoredFace(
        id=number,
        identity=identity,
        name=name,
        source=source,
        position=position,
        time=at,
        box=to_box(x, y, w, h),
        landmarks=to_landmarks(landmarks),
        score=score,
        quality=quality,
        track=track,
        collection=collection,
        created=created,
        vector=vector,
        chip=chip,
    )
