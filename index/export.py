"""All that is held about one person, as a zip file, for the person: read from one state of the database, row by row."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from vultus.index import acts, people
from vultus.index.errors import GalleryCorrupt, StorageError
from vultus.index.loading import bound_to
from vultus.index.seal import opened_chip
from vultus.index.sightings import shots
from vultus.index.storage import Connection, Storage
from vultus.index.store import private, sync_folder

_README = """\
What a vultus gallery holds about one person, as of {when}.

person.json      number, name, since when; the model that made the vectors
faces.jsonl      one line a face: photo, video or camera, time, place in the picture (x, y, width, height in pixels), eyes,
                 nose and corners of the mouth (landmarks), how sure the detector was (score), quality, track
vectors.npy      the faces' vectors (templates), float32, a row for each line of faces.jsonl; numpy.load reads it
lacking.jsonl    faces that have no vector (and no row there) since the gallery moved to another model, and why
chips/N.jpg      the picture of face N, 112 x 112 pixels
shots/N/M.jpg    the clearest pictures of sighting N
sightings.jsonl  when a camera or video was said to show this person
files.jsonl      archived files that brought these faces, or were to be labelled with this name
denials.jsonl    "this is not that person", as somebody said of this person or these faces
acts.jsonl       acts of users on this person that can still be undone (merge, split, ...)
changes.jsonl    rows of the gallery's journal about this person: deleted, merged, renamed (numbers only)

Times are seconds since 1970-01-01 00:00 UTC. Pages of text are JSON, UTF-8, one object a line.
"""
_ABOUT = {
    "sightings": "SELECT * FROM sightings WHERE identity = ?1 ORDER BY id",
    "files": "SELECT * FROM files WHERE label = (SELECT name FROM identities WHERE id = ?1) "
    "OR id IN (SELECT file FROM faces WHERE identity = ?1) ORDER BY id",
    "lacking": "SELECT l.face, l.reason FROM lacking l JOIN faces f ON f.id = l.face WHERE f.identity = ?1 ORDER BY 1",
    "denials": "SELECT * FROM denials WHERE identity = ?1 OR other = ?1 "
    "OR face IN (SELECT id FROM faces WHERE identity = ?1) ORDER BY at",
    "changes": "SELECT * FROM changes WHERE (kind IN ('dropped', 'renamed') AND first = ?1) "
    "OR (kind = 'merged' AND ?1 IN (first, last)) ORDER BY seq",
}


class Exported(Struct, frozen=True, kw_only=True):
    """What an export holds."""

    identity: int
    name: str | None
    faces: int
    sightings: int


def export(store: Storage, key: int | str, out: Path | BinaryIO) -> Exported:
    """Write the zip file about a person. Raises UnknownIdentity before anything is written, StorageError."""
    with store.read() as connection:
        connection.steady()
        number, name = people.find(connection, key)  # pins the state that is exported
        if not isinstance(out, Path):
            return _write(connection, number, name, out)
        if out.exists():
            raise StorageError(f"{out} is there already; nothing was written, choose another name", errno.EEXIST)
        temporary = out.with_name(out.name + ".tmp")
        try:
            temporary.unlink(missing_ok=True)
            with open(temporary, "xb", opener=private) as file:
                done = _write(connection, number, name, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(out)
            sync_folder(out.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise StorageError(
                f"{out} could not be written ({error.strerror}); there is no export", error.errno or errno.EIO
            ) from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return done


def _write(connection: Connection, number: int, name: str | None, file: BinaryIO) -> Exported:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README.format(when=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())))
        (person,) = _rows(connection, "SELECT * FROM identities WHERE id = ?1", number)
        _, model, dim = bound_to(connection)
        archive.writestr("person.json", _line({**person, "model": model, "dim": dim}))
        faces = _lines(
            archive, "faces", _rows(connection, "SELECT * FROM faces WHERE identity = ?1 ORDER BY id", number)
        )
        (lacking,) = connection.execute(
            "SELECT count(*) FROM lacking l JOIN faces f ON f.id = l.face WHERE f.identity = ?", (number,)
        ).fetchone()
        _vectors(archive, connection, number, faces - lacking, dim or 0)
        _chips(archive, connection, number)
        _shots(archive, connection, number)
        counts = {what: _lines(archive, what, _rows(connection, query, number)) for what, query in _ABOUT.items()}
        _lines(archive, "acts", _acts(connection, number))
    return Exported(identity=number, name=name, faces=faces, sightings=counts["sightings"])


def _rows(connection: Connection, query: str, person: int) -> Iterator[dict[str, object]]:
    """Yield rows by the names of their columns, so that no column that is held can be left out."""
    cursor = connection.execute(query, (person,))
    names = [column[0] for column in cursor.description or ()]
    for row in cursor:
        yield {name: _plain(name, value) for name, value in zip(names, row, strict=True)}


def _plain(name: str, value: object) -> object:
    if not isinstance(value, bytes):
        return value
    return list(struct.unpack("<10f", value)) if name == "landmarks" else value.hex()


def _line(row: dict[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _lines(archive: zipfile.ZipFile, what: str, rows: Iterator[dict[str, object]]) -> int:
    count = 0
    with archive.open(f"{what}.jsonl", "w", force_zip64=True) as file:
        for count, row in enumerate(rows, start=1):  # noqa: B007 - counted
            file.write(_line(row).encode())
    return count


def _vectors(archive: zipfile.ZipFile, connection: Connection, number: int, count: int, dim: int) -> None:
    """Write a NumPy file (format 1.0) without having it in memory."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {dim}), }}"
    padded = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11) + "\n"
    with archive.open("vectors.npy", "w", force_zip64=True) as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("ascii"))
        faces = connection.execute("SELECT id FROM faces WHERE identity = ? ORDER BY id", (number,))
        while some := [face for (face,) in faces.fetchmany(1000)]:
            for face, vector in connection.packed_vectors(some):
                if len(vector) != 4 * dim:
                    raise GalleryCorrupt(f"the vector of face {face} is damaged; `Gallery.verify` lists all such faces")
                file.write(vector)


def _chips(archive: zipfile.ZipFile, connection: Connection, number: int) -> None:
    for face, jpeg in connection.execute(
        "SELECT c.face, c.jpeg FROM faces f JOIN chips c ON c.face = f.id WHERE f.identity = ? ORDER BY f.id", (number,)
    ):
        archive.writestr(f"chips/{face}.jpg", opened_chip(connection.seal, face, jpeg) or b"", zipfile.ZIP_STORED)


def _shots(archive: zipfile.ZipFile, connection: Connection, number: int) -> None:
    for (sighting,) in connection.execute("SELECT id FROM sightings WHERE identity = ? ORDER BY id", (number,)):
        for shot in shots(connection, sighting):
            archive.writestr(f"shots/{sighting}/{shot.id}.jpg", shot.jpeg, zipfile.ZIP_STORED)


def _acts(connection: Connection, number: int) -> Iterator[dict[str, object]]:
    """Yield the acts that name this person, the newest first."""
    for act, detail in acts.recorded(connection):
        if number in detail.people():
            yield {**msgspec.to_builtins(act), "detail": msgspec.to_builtins(detail)}
