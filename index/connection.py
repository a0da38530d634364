"""What a connection to SQLite does beyond executing SQL; see `vultus.index.storage.Connection`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from vultus.index.seal import VECTOR, Seal

_ROWS = 100
"""Rows of one statement: each statement of a row lets the interpreter's lock go and waits for it again."""
_VECTORS = 1024
"""Vectors of one statement, which has a copy of them: 32 MB of the longest."""


class SqliteConnection(sqlite3.Connection):
    """A connection to the gallery's file."""

    seal: Seal | None = None
    """What the vectors are under; set for each loan."""
    handed: dict[int, np.ndarray]
    """What `hand_on` was told in the transaction; set for each loan for writing."""

    def steady(self) -> None:
        """Let all statements from here to the end of the loan see one state of the database."""
        self.execute("BEGIN")

    def next_numbers(self, table: str, count: int) -> range:
        """Return numbers for new rows of `table`; SQLite notes the highest that it ever stored."""
        first = self.last_number(table, "id") + 1
        return range(first, first + count)

    def last_number(self, table: str, key: str) -> int:  # noqa: ARG002 - there is one such column
        """Return the highest number that was ever given in `table`."""
        row = self.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return row[0] if row else 0

    def continue_numbers(self, table: str, key: str, last: int) -> None:  # noqa: ARG002
        """Give higher numbers than `last` from now on."""
        self.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        self.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))

    def add_rows(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert rows, given column by column; names of tables and columns are ours."""
        into, row = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ", f"({', '.join('?' * len(columns))})"  # noqa: S608
        count, width = len(next(iter(columns.values()))), len(columns)
        whole = count - count % _ROWS
        for start in range(0, whole, _ROWS):
            values: list[Any] = [None] * (_ROWS * width)
            for place, column in enumerate(columns.values()):
                values[place::width] = column[start : start + _ROWS]
            self.execute(into + ", ".join([row] * _ROWS), values)
        self.executemany(into + row, zip(*(column[whole:] for column in columns.values()), strict=True))

    def add_vectors(self, faces: Sequence[int], vectors: np.ndarray) -> None:
        """Store the vectors `(n, dim)` float32 of faces."""
        for start in range(0, len(faces), _VECTORS):
            some = faces[start : start + _VECTORS]
            plain = np.ascontiguousarray(vectors[start : start + _VECTORS], "<f4").data.cast("B")
            pieces = _cut(plain, len(some))
            data = plain if self.seal is None else b"".join(self.seal.close(VECTOR, some, pieces))
            self.execute(
                "INSERT INTO vectors SELECT value, substr(?2, key * ?3 + 1, ?3) FROM json_each(?1)",
                (json.dumps(list(some)), data, len(data) // len(some)),
            )

    def hand_on(self, mark: int, vectors: np.ndarray) -> None:
        """Let the index of this process have the vectors that the journal's row of this mark is about."""
        self.handed[mark] = vectors

    def packed_vectors(self, faces: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return face and vector of those of `faces` that are there, in ascending order."""
        # CROSS JOIN fixes the order of the loops: one look into the table for each face that is asked for. Rows are
        # sorted here, because SQLite would carry every vector through its sorter.
        rows = self.execute(
            "SELECT v.face, v.vector FROM json_each(?) w CROSS JOIN vectors v ON v.face = w.value",
            (json.dumps(list(faces)),),
        ).fetchall()
        rows.sort(key=itemgetter(0))
        if self.seal is None or not rows:
            return rows
        there, sealed = zip(*rows, strict=True)
        return list(zip(there, self.seal.open(VECTOR, there, sealed), strict=True))


def _cut(data: memoryview[int], count: int) -> Iterator[memoryview[int]]:
    """Yield so many equal pieces."""
    width = len(data) // count
    return (data[at * width : (at + 1) * width] for at in range(count))
