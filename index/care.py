"""Copies of a gallery made while it is in use, and the space that deleted faces leave."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from vultus.index import schema, snapshot
from vultus.index.connection import SqliteConnection
from vultus.index.errors import GalleryCorrupt, GalleryNotFound, NotInDatabase, StorageError, UnknownFormat
from vultus.index.seal import CHIP, SHOT, VECTOR, Seal, check_key, closed, opened
from vultus.index.storage import Connection
from vultus.index.store import DATABASE, Store, private, sync_folder

_ROWS = 1000
_SEALED = (
    ("vectors", "face", "vector", VECTOR),
    ("next_vectors", "face", "vector", VECTOR),
    ("chips", "face", "jpeg", CHIP),
    ("shots", "id", "jpeg", SHOT),
)
"""Tables, what their rows are numbered by, and what of them is under the key."""
_PAGES = 4096
"""Copied at a time (32 MB); between two such steps a writer of the same process gets its turn."""


def backup(store: Store, target: Path) -> int:
    """Copy the database as it is at one moment into the new file `target`; return its bytes.

    Searches and writes go on meanwhile, in every process. The copy is whole when the name appears.
    """
    with (
        new_file(target) as temporary,
        store.read() as connection,
        contextlib.closing(sqlite3.connect(temporary)) as copy,
    ):
        connection.execute("BEGIN")
        connection.execute("SELECT seq FROM changes LIMIT 1").fetchone()  # pins the state that is copied
        copy.execute("PRAGMA synchronous = OFF")  # synced in the end, once
        connection.backup(copy, pages=_PAGES)
        copy.execute("PRAGMA journal_mode = DELETE")
    return target.stat().st_size


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Lend the name of a file that is to be filled; it becomes `target`, a new one, when it is whole and on the disk.

    Raises StorageError.
    """
    if target.exists():
        raise StorageError(f"{target} is there already; nothing was written, choose another name", errno.EEXIST)
    temporary = target.with_name(target.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # faces are nobody else's business
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"the backup {target} could not be written ({error.strerror}); there is none, the gallery is unharmed",
            error.errno or errno.EIO,
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def blank(path: Path) -> Iterator[SqliteConnection]:
    """Lend a connection, in a transaction, to the empty gallery that is made of the empty file `path`."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        for pragma in (f"page_size = {schema.PAGE_SIZE}", "synchronous = OFF", "journal_mode = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        schema.create(connection, "")
        yield connection
        connection.execute("COMMIT")


@contextlib.contextmanager
def opened_backup(source: Path) -> Iterator[SqliteConnection]:
    """Lend a connection to the backup `source`, checked from end to end, of this format and not encrypted.

    Raises GalleryNotFound, UnknownFormat, GalleryCorrupt, NotInDatabase.
    """
    check(source)
    with contextlib.closing(sqlite3.connect(_unchanged(source), uri=True, factory=SqliteConnection)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] != schema.FORMAT:
            raise UnknownFormat(
                f"{source} is of an older format; restore it into a folder, open that once, and back it up again"
            )
        if connection.execute("SELECT sealed FROM gallery").fetchone()[0] is not None:
            raise NotInDatabase(
                f"{source} is of an encrypted gallery, and one in a database has no key; restore it into a folder, decrypt "
                "that, and back it up again"
            )
        yield connection


def restore(source: Path, folder: Path) -> None:
    """Make a gallery in `folder`, which is empty or not there, of the backup `source`, checked from end to end first."""
    temporary = folder / (DATABASE + ".tmp")  # there already, if a process was killed at this
    if folder.exists() and (not folder.is_dir() or any(path != temporary for path in folder.iterdir())):
        raise StorageError(
            f"{folder} is there and not empty; nothing was changed, restore into a new folder", errno.EEXIST
        )
    check(source)
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        with source.open("rb") as given, open(temporary, "wb", opener=private) as file:
            shutil.copyfileobj(given, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / DATABASE)
        sync_folder(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise StorageError(
            f"{folder} could not be written ({error.strerror}); remove it and repeat this", error.errno or errno.EIO
        ) from error


def set_key(store: Store, key: bytes | None) -> None:
    """Encrypt the gallery with this key, give it another, or decrypt it (none); the snapshot is gone then."""
    if key is not None:
        check_key(key)
    with snapshot.only_one(store.folder, wait=True), store.write(scrub=True) as connection:
        (uid,) = connection.execute("SELECT uid FROM gallery").fetchone()
        former = connection.seal
        seal = None if key is None else former or Seal.new()
        sealed = None if seal is None or key is None else seal.under(key, uid)
        if (former is None) != (seal is None):
            for table, number, column, what in _SEALED:
                _reseal(connection, (table, number, column), what, former, seal)
            for name in (snapshot.NAME, snapshot.NAME + ".tmp"):
                (store.folder / name).unlink(missing_ok=True)
        connection.execute("UPDATE gallery SET sealed = ?", (sealed,))
    store.resealed(seal, sealed)


def _reseal(
    connection: Connection, where: tuple[str, str, str], what: bytes, former: Seal | None, seal: Seal | None
) -> None:
    table, number, column = where
    last = 0
    while rows := connection.execute(
        f"SELECT {number}, {column} FROM {table} WHERE {number} > ? ORDER BY {number} LIMIT ?",  # noqa: S608 - of this file
        (last, _ROWS),
    ).fetchall():
        numbers, values = zip(*rows, strict=True)
        plain = opened(former, what, numbers, values)
        for damaged, value in zip(numbers, plain, strict=True):
            if not value:
                whose = f"face {damaged} is damaged, nothing was changed; remove the face"
                if number == "id":
                    whose = f"row {damaged} of {table} is damaged, nothing was changed; restore a backup"
                raise GalleryCorrupt(f"the {column} of {whose}")
        connection.executemany(
            f"UPDATE {table} SET {column} = ? WHERE {number} = ?",  # noqa: S608
            zip(closed(seal, what, numbers, plain), numbers, strict=True),
        )
        last = numbers[-1]


def check(source: Path) -> None:
    """Raise GalleryNotFound, UnknownFormat or GalleryCorrupt for what is not a whole gallery."""
    if not source.is_file():
        raise GalleryNotFound(f"there is no backup at {source}")
    try:
        with contextlib.closing(sqlite3.connect(_unchanged(source), uri=True)) as given:
            schema.check(given, str(source))
            (verdict,) = given.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise GalleryCorrupt(f"{source} is no whole gallery ({error}); nothing was restored") from error
    if verdict != "ok":
        raise GalleryCorrupt(f"{source} is damaged ({verdict}); nothing was restored")


def _unchanged(source: Path) -> str:
    """The address of a file to which nobody writes."""
    return f"{source.absolute().as_uri()}?mode=ro&immutable=1"


def compact(store: Store) -> int:
    """Write the database anew without the pages that deletions left; return how many bytes are given back.

    What stands in freed pages is zeros already (`secure_delete`), so this gives back space. Needs memory of about the
    size of the database, since temporary files must not hold names and faces.
    """
    path = store.folder / DATABASE
    before = path.stat().st_size
    store.vacuum()
    return before - path.stat().st_size
