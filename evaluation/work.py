"""A file that keeps what was computed for each picture, so that an evaluation which was stopped goes on, and the next one
begins with what this one found.

One SQLite database with one table. A key is what a value depends on (content of the picture, models, settings), so nothing
in it is ever wrong, only unused; whoever deletes the file loses time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from vultus.evaluation.errors import WorkUnusable

_APPLICATION = 0x76756C65
"""SQLite's `application_id` of such a file: "vule"."""
_MOST_BYTES = 4_000_000
"""Of a value; a larger one is none of ours."""
_AT_ONCE = 500


class WorkFile:
    """Values by key; a context manager. Several processes may use one file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at `path`. Raises WorkUnusable (an OSError) if it is something else."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._connection.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values that are there."""
        found: dict[bytes, bytes] = {}
        try:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value FROM work WHERE key IN ({marks}) AND length(value) <= {_MOST_BYTES}"  # noqa: S608
                found.update(row for row in self._connection.execute(query, part) if isinstance(row[1], bytes))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return found

    def put(self, values: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep values, all or none of them; on the disk when this returns."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO work VALUES (?, ?)", values)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _prepare(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != _APPLICATION and (application or tables):
            self._connection.close()
            raise OSError("it is a database of another program")
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS work (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )

    def _unusable(self, error: Exception) -> WorkUnusable:
        return WorkUnusable(f"{self._path} cannot keep what is computed ({error}); name another file with --work")
