"""The narrow interface behind which a gallery's storage stands, and the SQL that every storage understands.

SQL about people, files and sightings is written once, in what SQLite and PostgreSQL have in common and a few turns that
`vultus.index.dialect` translates: placeholders are `?` or `?1`, also in `? IS NULL` and `x IS ?`; a list of numbers is one
JSON parameter, `x IN (SELECT value FROM json_each(?))`, a list of names `x IN (SELECT CAST(value AS TEXT) FROM
json_each(?))`. So: `coalesce`, `ON CONFLICT`, `RETURNING` and `IS NOT DISTINCT FROM` rather than what only SQLite has;
sums are cast to BIGINT; an order that matters is written down, and does not rely on where nulls stand. What differs more
than that is a method of `Connection`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np


class Cursor(Protocol):
    """The rows of an answer."""

    @property
    def rowcount(self) -> int:
        """How many rows a statement changed."""

    def fetchone(self) -> Any:
        """Return the next row as a tuple, or none."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return up to `size` rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection that a storage lends for reading or for one write transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Execute one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Execute a statement for each row of parameters."""

    def steady(self) -> None:
        """Let all statements from here to the end of the loan see one state of the database; for readers."""

    def next_numbers(self, table: str, count: int) -> range:
        """Return `count` numbers for new rows of `table`: in one run, above all that were ever given and kept."""

    def add_vectors(self, faces: Sequence[int], vectors: np.ndarray) -> None:
        """Store the vectors `(n, dim)` float32, of length 1, of faces."""

    def packed_vectors(self, faces: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return face and vector, little-endian float32, of those of `faces` that are there, in ascending order."""
