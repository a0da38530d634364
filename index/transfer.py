"""A whole gallery from one kind of storage to the other, table by table: how one in a database is backed up and restored.

A backup is the same file whatever it is of: an SQLite database of the format that `vultus.index.schema` describes. Rows are
read in steps by their numbers, so that neither side ever holds more than a few thousand of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vultus.index import kinds
from vultus.index.errors import GalleryCorrupt, UnknownKind
from vultus.index.loading import unpack
from vultus.index.storage import Connection

_ROWS = 2000
_NUMBERED = {
    "identities": "id",
    "files": "id",
    "faces": "id",
    "sightings": "id",
    "shots": "id",
    "changes": "seq",
    "acts": "id",
    "audit": "id",
}
"""Tables whose rows have numbers that are never given twice."""
_OF_FACES = ("chips", "lacking", "next_vectors", "next_lacking")
_SMALL = ("denials", "calibration", "migration")


def copy(source: Connection, target: Connection) -> None:
    """Fill the tables of `target`, new ones, inside the caller's transaction; `source` shows one state meanwhile.

    Neither is encrypted. A kind of index that the other storage has not becomes "auto". Raises GalleryCorrupt.
    """
    _copy_gallery(source, target)
    target.execute("DELETE FROM changes")
    for table, key in _NUMBERED.items():
        _copy_table(source, target, table, key)
        target.continue_numbers(table, key, source.last_number(table, key))
    _copy_vectors(source, target)
    for table in _OF_FACES:
        _copy_table(source, target, table, "face")
    for table in _SMALL:
        columns = _columns(source, table)
        rows = source.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - of this file
        _insert(target, table, columns, rows)


def _copy_gallery(source: Connection, target: Connection) -> None:
    fields = ("uid", "model", "dim", "created", "index_kind", "memory", "gathered")
    row = list(source.execute(f"SELECT {', '.join(fields)} FROM gallery").fetchone())  # noqa: S608
    row[fields.index("index_kind")] = _kind(row[fields.index("index_kind")])
    target.execute(f"UPDATE gallery SET {' = ?, '.join(fields)} = ?", row)  # noqa: S608


def _kind(stored: str) -> str:
    """What both storages can have."""
    try:
        kind = kinds.read(stored)[0]
    except UnknownKind:
        return kinds.AUTO
    return kind if kind == kinds.FLAT else kinds.AUTO


def _copy_table(source: Connection, target: Connection, table: str, key: str) -> None:
    columns = _columns(source, table)
    for rows in _steps(source, table, key, columns):
        _insert(target, table, columns, rows)


def _copy_vectors(source: Connection, target: Connection) -> None:
    (dim,) = source.execute("SELECT dim FROM gallery").fetchone()
    for rows in _steps(source, "vectors", "face", "face"):
        packed = source.packed_vectors([face for (face,) in rows])
        faces = [face for face, _ in packed]
        vectors, bad = unpack([blob for _, blob in packed], dim or 1)
        if len(bad):
            raise GalleryCorrupt(f"the vector of face {faces[bad[0]]} is damaged; nothing was copied")
        target.add_vectors(faces, vectors)


def _columns(source: Connection, table: str) -> str:
    described = source.execute(f"SELECT * FROM {table} LIMIT 0").description or ()  # noqa: S608 - of this file
    return ", ".join(column[0] for column in described)


def _steps(source: Connection, table: str, key: str, columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows in the order of their keys, the key being the first column."""
    last = -1
    query = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"  # noqa: S608 - of this file
    while rows := source.execute(query, (last, _ROWS)).fetchall():
        yield rows
        last = rows[-1][0]


def _insert(target: Connection, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
    places = ", ".join("?" * (columns.count(",") + 1))
    target.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)  # noqa: S608 - of this file
