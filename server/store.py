"""What the server knows beside the gallery: one SQLite file in its folder.

Users, keys, cameras, events, rules, deliveries and jobs are few and small, so there is one connection and a lock; what
a transaction wrote is on the disk when it ends (WAL, `synchronous=FULL`).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vultus.server import schema
from vultus.server.errors import ServerDataError

FILE = "server.db"


class Store:
    """The open file. `read` and `write` may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Open or make it, for this user's eyes only. Raises ServerDataError (an OSError)."""
        self.folder = folder
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(folder / FILE, check_same_thread=False, isolation_level=None)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
                self._connection.execute(f"PRAGMA {pragma}")
            schema.bring_up(self._connection)
        except (OSError, sqlite3.Error) as error:
            raise ServerDataError(f"{folder / FILE}: {error}") from error

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, for looking at one state of everything."""
        with self._lock:
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk after the block, or, with an exception, nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def reader(self) -> sqlite3.Connection:
        """Another connection, for its owner's looking alone: it waits for nobody's writing. The owner closes it."""
        connection = sqlite3.connect(self.folder / FILE, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()
