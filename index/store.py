"""Connections and transactions: how a process holds the SQLite file, and what SQLite's errors mean.

One connection writes, behind a lock; readers take one from a pool, so that a search never waits for a commit. All of
them are in WAL mode with `synchronous=FULL`: once `write` has been left without an exception, the data are on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from vultus.index import schema
from vultus.index.connection import SqliteConnection
from vultus.index.errors import (
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryNotFound,
    StorageError,
    UnknownFormat,
    WrongKey,
)
from vultus.index.handing import Handing
from vultus.index.holder import NAME as WRITER
from vultus.index.holder import Holder, holder
from vultus.index.seal import Seal, check_key
from vultus.index.storage import Storage

DATABASE = "gallery.sqlite3"
_SMALLEST = 512
"""Bytes of an SQLite file."""
_SCRUB_WAIT_MS = 250
_IDLE = 8
"""Connections that are kept for the next readers: each has a cache of up to 16 MB."""
_LOG = 32 << 20
"""Bytes of the log before they are put into the database: the usual 1000 pages are some commits of a thousand faces, and each
time the index pages that all of them touch are written and synced anew."""
_NOTHING = ("lost+found", WRITER)
"""Names that may be in a folder in which there is no gallery, or not yet."""

_log = logging.getLogger("vultus.index")


class Store(Storage):
    """An open gallery database."""

    def __init__(self, folder: Path, busy_timeout: float, key: bytes | None = None) -> None:
        self.folder = folder
        self.seal: Seal | None = None
        """What vectors and pictures are under; none if the gallery is not encrypted."""
        self._key = key
        self._sealed: bytes | None = None
        self._model: str | None = None
        self.read_only = not _writable(folder)
        """Whether the folder may only be read: searches work, writes raise StorageError."""
        self.process = process_name()
        self.actor: Callable[[], tuple[str, str | None]] | None = None
        """Says who acts, and from where, if that is to be recorded."""
        self.handing = Handing()
        self._timeout = busy_timeout
        self._process = os.getpid()
        self._closed = False
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._pool: list[SqliteConnection] = []
        self._scrub_due = False
        self._shown = self._shape()
        self._holder = Holder(folder)
        self._writing = self._connect(self._reading_mode() if self.read_only else "mode=rwc")

    @classmethod
    def open(cls, folder: Path, *, create: bool, busy_timeout: float, key: bytes | None = None) -> Store:
        """Open the database of `folder`, made first if it is missing and `create` is set, encrypted if there is a key.

        Raises WrongKey.
        """
        made = _prepare(folder, create=create)
        store = cls(folder, busy_timeout, None if key is None else check_key(key))
        try:
            with store._translated():
                store._settle()
                store._unlock()
        except BaseException:
            store.close()
            raise
        if made:
            sync_folder(folder.parent)
        return store

    def _connect(self, mode: str) -> SqliteConnection:
        path = self.folder / DATABASE
        with self._translated():
            connection = sqlite3.connect(
                f"file:{quote(str(path))}?{mode}",
                uri=True,
                timeout=self._timeout,
                isolation_level=None,
                check_same_thread=False,
                factory=SqliteConnection,
            )
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA synchronous = FULL")
            _limit_log(connection)
            # 4 MB: adding 300,000 faces is no faster with 16, and a process that stores sightings for days is full-grown
            # after minutes instead of an hour.
            connection.execute("PRAGMA cache_size = -4000")
            connection.execute("PRAGMA temp_store = MEMORY")  # names must not reach /tmp
        return connection

    def _reading_mode(self) -> str:
        """How a database that may not be written is opened: SQLite would make a log that is not there."""
        if not self.read_only:
            return "mode=rw"
        if not self._shape()[1]:
            return "mode=ro&immutable=1"  # nobody writes; should somebody begin, `read` notices
        if not (self.folder / (DATABASE + "-shm")).exists():
            raise StorageError(
                f"{self.folder} may only be read, but its log was left by a process that was killed, and has to be "
                "put into the database: open it once where it may be written, or copy the folder to such a place",
                errno.EROFS,
            )
        return "mode=ro"

    def _shape(self) -> tuple[tuple[int, int, int] | None, bool]:
        """What changes when somebody else begins to write to a database that this process may only read."""
        if not self.read_only:
            return None, False
        try:
            seen = os.stat(self.folder / DATABASE)
        except FileNotFoundError:
            return None, False
        log = self.folder / (DATABASE + "-wal")
        return (seen.st_ino, seen.st_size, seen.st_mtime_ns), log.exists() and log.stat().st_size > 0

    def _settle(self) -> None:
        """Make the tables of a blank database, refuse a foreign one, and switch to WAL mode."""
        connection = self._writing
        if self.read_only:
            schema.check(connection, str(self.folder / DATABASE), upgraded=True)
            return
        if schema.is_blank(connection):
            connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                key = self._key
                sealed = None if key is None else lambda uid: Seal.new().under(key, uid)
                schema.create(connection, self.process, sealed)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            _limit_log(connection)
        schema.check(connection, str(self.folder / DATABASE))
        schema.upgrade(connection)
        deadline = time.monotonic() + self._timeout
        while True:  # SQLite does not wait by itself when somebody else reads at the moment of the switch
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if mode != "wal":
            raise StorageError(
                f"{self.folder} is on a file system without the shared memory that a gallery needs "
                "(a network share?); move it to a local disk",
                errno.ENOTSUP,
            )

    def _unlock(self) -> None:
        """Open the gallery's key with the user's."""
        uid, sealed, self._model = self._writing.execute("SELECT uid, sealed, model FROM gallery").fetchone()
        if sealed is None and self._key is not None:
            raise WrongKey(
                f"the gallery {self.folder} is not encrypted, but a key was given; `vultus gallery encrypt` encrypts it"
            )
        if sealed is not None and self._key is None:
            raise WrongKey(
                f"the gallery {self.folder} is encrypted and needs its key: store.key_file, or VULTUS_GALLERY_KEY"
            )
        if sealed is not None and self._key is not None:
            self.seal = Seal.opened(sealed, self._key, uid, f"the gallery {self.folder}")
        self._sealed = sealed

    def resealed(self, seal: Seal | None, sealed: bytes | None) -> None:
        """Go on with another seal, which the database has by now."""
        self.seal, self._sealed = seal, sealed

    def _lent(self, connection: SqliteConnection) -> SqliteConnection:
        """Refuse what another process has moved to another model, encrypted, decrypted or given another key."""
        connection.seal = self.seal
        sealed, model = connection.execute("SELECT sealed, model FROM gallery").fetchone()
        self.check_model(model)
        if sealed != self._sealed:
            raise WrongKey(
                f"the gallery {self.folder} was encrypted, decrypted or given another key by another process; "
                "open it again with the key that it has now"
            )
        return connection

    @property
    def place(self) -> Path:
        """The folder."""
        return self.folder

    @contextlib.contextmanager
    def read(self) -> Iterator[SqliteConnection]:
        """Lend a connection for reading; each statement sees the newest commit of any process."""
        self.check_usable()
        with self._pool_lock:
            if self.read_only and self._shape() != self._shown:
                stale, self._pool, self._shown = self._pool, [], self._shape()
                for former in stale:
                    former.close()
            shown = self._shown
            connection = self._pool.pop() if self._pool else None
        if connection is None:
            connection = self._connect(self._reading_mode())
        try:
            with self._translated():
                yield self._lent(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            with self._pool_lock:
                keep = not self._closed and shown == self._shown and len(self._pool) < _IDLE
                if keep:
                    self._pool.append(connection)
            if not keep:
                connection.close()

    @contextlib.contextmanager
    def write(self, *, scrub: bool = False) -> Iterator[SqliteConnection]:
        """A write transaction: committed and on the disk when left normally, as if it never began otherwise.

        `scrub` says that something is deleted whose bytes must not stay behind in the write-ahead log.
        """
        with self._alone() as connection:
            yield connection
            self.handing.put(connection.handed)  # before the commit: after it a search may follow at once
            connection.execute("COMMIT")
            if scrub or self._scrub_due:
                self._scrub_due = not self._scrub(connection)

    def vacuum(self) -> None:
        """Write the file anew without free pages, and empty the log; the latter later if a reader is in the way."""
        with self._alone() as connection:
            connection.execute("COMMIT")
            connection.execute("VACUUM")
            self._scrub_due = not self._scrub(connection)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep every process from writing for a moment; of a gallery that may only be read, this one only."""
        if self.read_only:
            yield
            return
        with self._alone():
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[SqliteConnection]:
        """Hold the right to write, in a transaction that is rolled back unless it was ended."""
        self.check_usable()
        with self._write_lock, self._translated():
            self.check_usable()
            if self.read_only:
                raise StorageError(f"{self.folder} may only be read; nothing was written", errno.EROFS)
            connection = self._writing
            connection.execute("BEGIN IMMEDIATE")
            self._holder.take(str(self.writer))
            connection.handed = {}
            try:
                yield self._lent(connection)
            finally:
                if connection.in_transaction:  # SQLite may have rolled back by itself, on a full disk for one
                    connection.execute("ROLLBACK")
                connection.handed = {}
                self._holder.give_back()

    def _scrub(self, connection: sqlite3.Connection) -> bool:
        """Empty the write-ahead log, where older pages would survive a deletion; false if that is still due.

        Never an error: the deletion itself is committed, and the next write or closing tries again.
        """
        connection.execute(f"PRAGMA busy_timeout = {_SCRUB_WAIT_MS}")
        try:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                _log.warning("%s: what was deleted is gone, but not yet from its log: %s", self.folder, error)
            busy = True
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")
        return not busy

    def close(self) -> None:
        """Give everything back; a second call does nothing. Waits for a write that is under way."""
        if not self.usable:
            return
        with self._write_lock:
            with self._pool_lock:
                self._closed = True
                pool, self._pool = self._pool, []
            for connection in pool:
                connection.close()
            if self._scrub_due:
                self._scrub(self._writing)
            self._writing.close()
            self._holder.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> GalleryError:
        # Errors of the binding itself (a closed connection, say) carry no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        path = self.folder / DATABASE
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return GalleryBusy(
                f"the gallery {self.folder} is busy, nothing was written: {self._writer_now()}; "
                f"this one waited {self._timeout:g} s; try again when it is done"
            )
        if code == sqlite3.SQLITE_FULL:
            return StorageError(
                f"the disk of {path} is full; nothing of this write was kept, everything acknowledged before is safe; "
                "free some space and repeat it",
                errno.ENOSPC,
            )
        if code == sqlite3.SQLITE_NOTADB:
            return _no_database(path)
        if code == sqlite3.SQLITE_CORRUPT:
            return GalleryCorrupt(f"{path} is damaged ({error}); restore a backup")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return StorageError(f"{path} cannot be written ({error}); check its owner and the disk", errno.EROFS)
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return StorageError(
                f"{path} could not be read or written ({error}); check disk, permissions and quota", errno.EIO
            )
        return GalleryError(f"the database {path} refused an operation: {error}")

    def _writer_now(self) -> str:
        """Say who holds the right to write, or, if that is not known, who committed last."""
        held = holder(self.folder)
        if held is not None:
            return f"{held[0]} has been writing since {_clock(held[1])}"
        path = self.folder / DATABASE
        try:  # the lock that somebody holds does not keep readers out
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0.1)) as db:
                row = db.execute("SELECT writer, at FROM changes ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.Error as error:
            return f"another process writes, which one is not known ({error})"
        return f"another process writes; the last to have written was {row[0]}, {_clock(row[1])}"


def _limit_log(connection: sqlite3.Connection) -> None:
    """Let SQLite put the log into the database when it has that many bytes."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG // page}")


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def process_name() -> str:
    """What this process is called by, with the subcommand but no argument that may name somebody."""
    name = Path(sys.argv[0]).name or "python"
    if name == "vultus" and len(sys.argv) > 1 and sys.argv[1].isalpha():
        name = f"{name} {sys.argv[1]}"
    return f"process {os.getpid()} ({name}) on {socket.gethostname()}"


def _writable(folder: Path) -> bool:
    """Whether this process may write the gallery that is in `folder`, or is to be made there."""
    paths = (folder, folder / DATABASE) if (folder / DATABASE).exists() else (folder,)
    return all(os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids) for path in paths)


def _prepare(folder: Path, *, create: bool) -> bool:
    """Check that `folder` is a gallery or may become one; return whether the folder was made."""
    if not folder.exists():
        if not create:
            raise GalleryNotFound(
                f"there is no gallery at {folder}; give the folder of an existing one, "
                "or index some photos into it first"
            )
        try:
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)  # faces are nobody else's business
        except OSError as error:
            raise StorageError(f"the folder {folder} cannot be made: {error.strerror}", error.errno or 0) from error
        return True
    if not folder.is_dir():
        raise UnknownFormat(f"{folder} is a file, but a gallery is a folder; choose another path")
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in _NOTHING)
    if DATABASE in others:
        _check_size(folder)
        return False
    if others:
        raise UnknownFormat(
            f"{folder} is no gallery: it has no {DATABASE}, but other files ({', '.join(others[:3])}"
            f"{', …' if len(others) > 3 else ''}); choose an empty or a new folder"
        )
    if not create:
        raise GalleryNotFound(f"{folder} is empty, there is no gallery in it; index some photos into it first")
    return False


def _check_size(folder: Path) -> None:
    """Refuse what is too short for an SQLite file; SQLite itself takes it for an empty one.

    With a journal beside it, a process died while it made the gallery, and SQLite will undo that. Nothing but SQLite ever
    opens the file of a gallery: closing it would give back every lock that this process holds on it (POSIX), those of a
    gallery that it has open already too, and another process would throw away the log that this one still writes.
    """
    path = folder / DATABASE
    if 0 < path.stat().st_size < _SMALLEST and not path.with_name(DATABASE + "-journal").exists():
        raise _no_database(path)


def _no_database(path: Path) -> UnknownFormat:
    return UnknownFormat(f"{path} is not an SQLite database, so {path.parent} is no gallery; it was left alone")


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, for `open(..., opener=private)`: faces are nobody else's business."""
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Make names that were created or renamed in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
