"""The narrow interface behind which a gallery's storage stands, and the SQL that every storage understands.

SQL about people, files and sightings is written once, in what SQLite and PostgreSQL have in common and a few turns that
`vultus.index.dialect` translates: placeholders are `?` or `?1`, also in `? IS NULL` and `x IS ?`; a list of numbers is one
JSON parameter, `x IN (SELECT value FROM json_each(?))`, a list of names `x IN (SELECT CAST(value AS TEXT) FROM
json_each(?))`. So: `coalesce`, `ON CONFLICT`, `RETURNING` and `IS NOT DISTINCT FROM` rather than what only SQLite has;
sums are cast to BIGINT; an order that matters is written down, and does not rely on where nulls stand. What differs more
than that is a method of `Connection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from vultus.configs import Place
from vultus.index.seal import Seal
from vultus.index.types import Report


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

    seal: Seal | None
    """What vectors and pictures are under, if the gallery is encrypted."""

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


class IndexFigures(Struct, frozen=True, kw_only=True):
    """What a backend says of its index and its size; see `vultus.index.types.Stats`."""

    index: str
    bytes_per_vector: int
    last_snapshot: float | None
    size_bytes: int
    encrypted: bool = False
    recall: float | None = None


class Backend(Protocol):
    """Storage, search and care of an open gallery. What is not possible in one of the two raises NotInDatabase."""

    @property
    def storage(self) -> Storage:
        """The database."""

    def figures(self, connection: Connection) -> IndexFigures:
        """Return kind and size of the index, and the size of all."""

    def near(
        self, connection: Connection, probes: np.ndarray, k: int, threshold: float
    ) -> list[list[tuple[int, float]]]:
        """Return for each probe up to `k` people, by the best face of each, whose similarity reaches the threshold.

        `probes` are `(n, dim)` float32 of length 1. People without a name have their numbers negated, hidden people are
        there too, faces of nobody are not. Raises `vultus.index.search.Moved` if that changed meanwhile.
        """

    def verify(self) -> Report:
        """Check everything that can be checked."""

    def convert(self, kind: str, memory: int | None) -> str:
        """Give the gallery another kind of index; return which it has now. Raises UnknownKind."""

    def set_key(self, key: bytes | None) -> None:
        """Encrypt with a key of 32 bytes, give another key, or decrypt (none)."""

    def backup(self, target: Path) -> int:
        """Copy the gallery as it is into a new file; return its bytes."""

    def compact(self) -> int:
        """Give back the space of what was deleted; return how many bytes that is."""

    def snapshot(self) -> None:
        """Write what makes the next opening quick, if anything does."""

    def close(self, *, snapshot: bool | None) -> None:
        """Give everything back; a second call does nothing."""


class Storage(Protocol):
    """The database of an open gallery. May be used from several threads."""

    process: str
    """This process, as others see it."""
    actor: Callable[[], str] | None
    """Says who acts, if that is to be recorded."""
    read_only: bool

    @property
    def place(self) -> Place:
        """Where it is; may be shown."""

    @property
    def writer(self) -> str:
        """What the journal says about who made a change."""

    @property
    def usable(self) -> bool:
        """Whether this process opened the storage and has not closed it."""

    def check_usable(self) -> None:
        """Raise GalleryClosed after `close`, and in a fork."""

    def read(self) -> AbstractContextManager[Connection]:
        """Lend a connection for reading; each statement sees the newest commit of any process."""

    def write(self, *, scrub: bool = False) -> AbstractContextManager[Connection]:
        """A write transaction: committed and on the disk when left normally, as if it never began otherwise.

        Writers of all processes take turns. `scrub` says that something is deleted whose bytes must not stay behind.
        """

    def close(self) -> None:
        """Give everything back; a second call does nothing. Waits for a write that is under way."""
