"""What a connection to SQLite does beyond executing SQL; see `vultus.index.storage.Connection`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from vultus.index.seal import VECTOR, Seal, closed


class SqliteConnection(sqlite3.Connection):
    """A connection to the gallery's file."""

    seal: Seal | None = None
    """What the vectors are under; set for each loan."""

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

    def add_vectors(self, faces: Sequence[int], vectors: np.ndarray) -> None:
        """Store the vectors `(n, dim)` float32 of faces."""
        data = np.ascontiguousarray(vectors, "<f4").data.cast("B")
        width = 4 * vectors.shape[1]
        rows = (data[at * width : (at + 1) * width] for at in range(len(faces)))
        self.executemany(
            "INSERT INTO vectors VALUES (?, ?)", zip(faces, closed(self.seal, VECTOR, faces, rows), strict=True)
        )

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
