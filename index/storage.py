"""What a gallery's database does, SQLite or PostgreSQL, and the SQL that both understand.

SQL about people, files and sightings is written once, in what SQLite and PostgreSQL have in common and a few turns that
`vultus.index.dialect` translates: placeholders are `?` or `?1`, also in `? IS NULL` and `x IS ?`; a list of numbers is one
JSON parameter, `x IN (SELECT value FROM json_each(?))`, a list of names `x IN (SELECT CAST(value AS TEXT) FROM
json_each(?))`; `instr(` finds a text in another.
So: `coalesce`, `ON CONFLICT`, `RETURNING` and `IS NOT DISTINCT FROM` rather than what only SQLite has;
sums are cast to BIGINT; an order that matters is written down, and does not rely on where nulls stand. What differs more
than that is a method of `Connection`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from vultus.configs import Place
from vultus.index.errors import GalleryClosed, ModelMismatch
from vultus.index.seal import Seal


class Writer(Struct, frozen=True):
    """Who makes a change, as the journal says it."""

    program: str
    """The process."""
    actor: str | None = None
    """Who acts, and from where, if that is recorded."""
    via: str | None = None

    def __str__(self) -> str:
        return self.program if self.actor is None else f"{self.actor}, {self.program}"


class Cursor(Protocol):
    """The rows of an answer."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """The columns, each beginning with its name."""

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

    def last_number(self, table: str, key: str) -> int:
        """Return the highest number that was ever given in the column `key` of `table`, 0 if there was none."""

    def continue_numbers(self, table: str, key: str, last: int) -> None:
        """Give higher numbers than `last` from now on."""

    def add_rows(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert rows, given column by column; at least one column, all equally long."""

    def add_vectors(self, faces: Sequence[int], vectors: np.ndarray) -> None:
        """Store the vectors `(n, dim)` float32, of length 1, of faces."""

    def hand_on(self, mark: int, vectors: np.ndarray) -> None:
        """Say whose vectors the journal's `added` row of this mark is about, in the order of faces; nobody changes them."""

    def packed_vectors(self, faces: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return face and vector, little-endian float32, of those of `faces` that are there, in ascending order."""


class Storage(Protocol):
    """The database of an open gallery, and what its kinds have in common. May be used from several threads."""

    _process: int
    """Number of the process that opened it."""
    _closed: bool
    process: str
    """This process, as others see it."""
    actor: Callable[[], tuple[str, str | None]] | None
    """Says who acts, and from where, if that is to be recorded."""
    read_only: bool
    _model: str | None
    """What the gallery was opened with, as far as it has one."""

    @property
    def place(self) -> Place:
        """Where it is; may be shown."""

    @property
    def writer(self) -> Writer:
        """What the journal says about who makes a change now, in this thread or task."""
        return Writer(self.process) if self.actor is None else Writer(self.process, *self.actor())

    @property
    def usable(self) -> bool:
        """Whether this process opened the storage and has not closed it."""
        return not self._closed and os.getpid() == self._process

    def check_usable(self) -> None:
        """Raise GalleryClosed after `close`, and in a fork, where files and connections belong to the parent."""
        if self._closed:
            raise GalleryClosed(f"the gallery {self.place} is closed")
        if os.getpid() != self._process:
            raise GalleryClosed(
                f"the gallery {self.place} was opened by process {self._process} before a fork; "
                "open it again in the child process"
            )

    def moved_to(self, model: str) -> None:
        """Expect this model from now on."""
        self._model = model

    def check_model(self, model: str | None) -> None:
        """Raise ModelMismatch if the gallery has got another model than the one it was opened with."""
        if self._model is None:
            self._model = model
        if model != self._model:
            raise ModelMismatch(
                f"the gallery {self.place} has moved from the model {self._model} to {model}; open it again with that"
            )

    def read(self) -> AbstractContextManager[Connection]:
        """Lend a connection for reading; each statement sees the newest commit of any process."""

    def write(self, *, scrub: bool = False) -> AbstractContextManager[Connection]:
        """A write transaction: committed and on the disk when left normally, as if it never began otherwise.

        Writers of all processes take turns. `scrub` says that something is deleted whose bytes must not stay behind.
        """

    def close(self) -> None:
        """Give everything back; a second call does nothing. Waits for a write that is under way."""
