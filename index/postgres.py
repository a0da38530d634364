"""Connections and transactions in PostgreSQL, and what its errors mean; the only file that knows the driver.

Writers take turns by an advisory lock of the gallery's own, held to the end of the transaction: numbers and journal rise in
the order of commits, as readers by cursor rely on, and what a writer has looked at before it writes stays so. They run in
READ COMMITTED, where each statement sees what the writer before has committed (a snapshot taken before the lock was got
would not). Readers take no lock; one that needs several statements about one state reads in REPEATABLE READ.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from vultus.configs import DatabaseUrl, redact_text
from vultus.index import postgres_schema as schema
from vultus.index.database_url import parsed
from vultus.index.dialect import translated
from vultus.index.errors import (
    AccessDenied,
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryNotFound,
    GalleryUnreachable,
    StorageError,
    UnknownFormat,
)
from vultus.index.names import folded
from vultus.index.seal import Seal
from vultus.index.storage import Cursor, Storage
from vultus.index.store import process_name

_LOCK = 0x56554C54  # "VULT"
_IDLE = 8
"""Connections that are kept for the next readers."""
_HANGING_MS = 60_000
"""A writer that says nothing for so long is put out, so that it does not keep out all others."""
_COPIED = b"PGCOPY\n\xff\r\n\0" + bytes(8)

_log = logging.getLogger("vultus.index")

Raw = psycopg.Connection[tuple[Any, ...]]


class PostgresConnection:
    """A connection to PostgreSQL as `vultus.index.storage.Connection` describes it."""

    seal: Seal | None = None
    """Vectors are never encrypted here: the server compares them."""

    def __init__(self, raw: Raw, check_model: Callable[[str | None], None]) -> None:
        self.raw = raw
        self._check_model = check_model

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Execute one statement."""
        statement, places = translated(sql)
        return self.raw.execute(statement.encode(), [parameters[at] for at in places])

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Execute a statement for each row of parameters, without waiting for each answer."""
        statement, places = translated(sql)
        cursor = self.raw.cursor()
        cursor.executemany(statement.encode(), ([row[at] for at in places] for row in parameters))
        return cursor

    def steady(self) -> None:
        """Let all statements from here to the end of the loan see one state of the database."""
        self.raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        self.same_model()

    def same_model(self) -> None:
        """Raise ModelMismatch if the gallery has moved to another model, in the state that is looked at."""
        self._check_model(self._one("SELECT model FROM gallery")[0])

    def next_numbers(self, table: str, count: int) -> range:
        """Return numbers for new rows of `table`; a sequence does not go back, whatever becomes of the transaction."""
        sequence = "pg_get_serial_sequence(%s, 'id')"
        (last,) = self._one(f"SELECT setval({sequence}, nextval({sequence}) + %s - 1)", table, table, count)
        return range(last - count + 1, last + 1)

    def last_number(self, table: str, key: str) -> int:
        """Return the highest number that was ever given."""
        last: int | None = self._one(
            "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(%s, %s) AS regclass))", table, key
        )[0]
        return last or 0

    def continue_numbers(self, table: str, key: str, last: int) -> None:
        """Give higher numbers than `last` from now on; that stays so whatever becomes of the transaction."""
        if last:
            self._one("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", table, key, last)

    def add_rows(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert rows, given column by column; names of tables and columns are ours."""
        self.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
            zip(*columns.values(), strict=True),
        )

    def add_vectors(self, faces: Sequence[int], vectors: np.ndarray) -> None:
        """Store the vectors `(n, dim)` float32 of faces, as PostgreSQL's binary COPY takes them."""
        dim = vectors.shape[1]
        fields = [("n", ">i2"), ("s", ">i4"), ("face", ">i8"), ("t", ">i4"), ("dim", ">i2"), ("zero", ">i2")]
        rows = np.zeros(len(vectors), np.dtype([*fields, ("vector", ">f4", (dim,))]))
        rows["n"], rows["s"], rows["t"], rows["dim"] = 2, 8, 4 + 4 * dim, dim
        rows["face"], rows["vector"] = faces, vectors
        with self.raw.cursor().copy("COPY vectors (face, vector) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_COPIED)
            copy.write(rows.tobytes())
            copy.write(b"\xff\xff")

    def hand_on(self, mark: int, vectors: np.ndarray) -> None:
        """Do nothing: the index is the database's."""

    def packed_vectors(self, faces: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return face and vector of those of `faces` that are there, in ascending order."""
        cursor = self.raw.cursor(binary=True)
        query = "SELECT face, vector_send(vector) FROM vectors WHERE face = ANY(CAST(%s AS bigint[])) ORDER BY face"
        cursor.execute(query, [list(faces)])
        # Dim and a zero, 16 bits each, come first.
        return [(face, np.frombuffer(sent, ">f4", offset=4).astype("<f4").tobytes()) for face, sent in cursor]

    def _one(self, query: str, *parameters: object) -> Any:
        return self.raw.execute(query.encode(), parameters).fetchone()


class PostgresStore(Storage):
    """An open gallery in a PostgreSQL database."""

    def __init__(self, url: DatabaseUrl, busy_timeout: float) -> None:
        self.url = url
        self.read_only = False
        self.process = process_name()
        self.actor: Callable[[], tuple[str, str | None]] | None = None
        """Says who acts, and from where, if that is to be recorded."""
        self._options, self.schema = parsed(url)
        self._path = ""
        self._timeout = busy_timeout
        self._process = os.getpid()
        self._closed = False
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._pool: list[Raw] = []
        self._writing: Raw | None = None
        self._model: str | None = None

    @classmethod
    def open(cls, url: DatabaseUrl, *, create: bool, busy_timeout: float) -> PostgresStore:
        """Open the gallery of a database, made first if there is none and `create` is set."""
        store = cls(url, busy_timeout)
        try:
            with store._translated():
                store._settle(create=create)
        except BaseException:
            store.close()
            raise
        return store

    def _connect(self) -> Raw:
        refused: GalleryError | None = None
        try:
            options = {
                "connect_timeout": "10",
                "keepalives_idle": "30",
                "application_name": self.process.encode()[:63].decode(errors="ignore"),
                **self._options,
                "client_encoding": "UTF8",
            }
            raw: Raw = psycopg.connect(make_conninfo("", **options), autocommit=True)
        except psycopg.Error as error:
            refused = self._refused(error)
        if refused is not None:
            raise refused  # out here, where it does not carry the driver's error, which holds the password
        try:
            with self._translated():
                settings = {
                    "search_path": self._path or '"$user", public',
                    "lock_timeout": str(max(1, int(1000 * self._timeout))),
                    "idle_in_transaction_session_timeout": str(_HANGING_MS),
                    "jit": "off",
                    # Of an index that finds approximately: how many candidates it keeps, and that it goes on when a filter
                    # leaves too few of them.
                    "hnsw.ef_search": "200",
                    "hnsw.iterative_scan": "strict_order",
                }
                for name, value in settings.items():
                    raw.execute("SELECT set_config(%s, %s, false)", (name, value))
                # Acknowledged means on the disk, however the server is set up.
                raw.execute(
                    "SELECT set_config('synchronous_commit', 'on', false) "
                    "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
                )
        except BaseException:
            raw.close()
            raise
        return raw

    def _settle(self, *, create: bool) -> None:
        """Make the tables where there are none, and refuse what is no gallery of this format."""
        raw = self._writing = self._connect()
        encoding = raw.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise UnknownFormat(
                f"the database {self.url} is encoded in {encoding}, but names need UTF8; make another one"
            )
        found = self._format(raw)
        if found is None and not create:
            raise GalleryNotFound(
                f"there is no gallery in {self.url} (schema {self.schema}); index some photos into it first"
            )
        if found is None:
            self._create(raw)
            found = self._format(raw)
        if found is not None and found > schema.FORMAT:
            raise UnknownFormat(
                f"{self.url} has gallery format {found}, this program reads up to {schema.FORMAT}: "
                "a newer vultus wrote it; upgrade vultus to open it"
            )
        if found is not None and found in schema.STEPS:
            self._upgrade(raw)
            found = self._format(raw)
        if found != schema.FORMAT:
            raise GalleryCorrupt(f"{self.url} says it has gallery format {found}, which never existed; restore a dump")
        self._path = f'"{self.schema}", "{self._extension(raw)}"'
        raw.execute("SELECT set_config('search_path', %s, false)", (self._path,))

    def _format(self, raw: Raw) -> int | None:
        """Return the format of the gallery, or none if there is none. Raises UnknownFormat for something else."""
        tables = raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (self.schema,)).fetchall()
        there = {name for (name,) in tables}
        if not there:
            return None
        if not there >= {"gallery", "identities", "faces", "changes"}:
            raise UnknownFormat(
                f"the schema {self.schema} of {self.url} holds other tables, not a gallery; "
                "choose another schema with ?schema=NAME"
            )
        row = raw.execute(f'SELECT format FROM "{self.schema}".gallery'.encode()).fetchone()  # noqa: S608 - checked
        return 0 if row is None else int(row[0])

    def _create(self, raw: Raw) -> None:
        """Make the tables, in one transaction, unless another process was faster."""
        with raw.transaction():
            raw.execute("SELECT pg_advisory_xact_lock(%s, 0)", (_LOCK,))
            if self._format(raw) is not None:
                return
            raw.execute("CREATE EXTENSION IF NOT EXISTS vector")
            extension = self._extension(raw)
            raw.execute(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"'.encode())
            raw.execute(f'SET LOCAL search_path = "{self.schema}", "{extension}"'.encode())
            raw.execute(schema.TABLES.encode())
            now, uid, mark = time.time(), secrets.token_bytes(16), secrets.randbits(63)
            raw.execute(
                "INSERT INTO gallery (one, format, uid, created) VALUES (1, %s, %s, %s)", (schema.FORMAT, uid, now)
            )
            raw.execute(
                "INSERT INTO changes (mark, kind, first, last, faces, at, writer) VALUES (%s, 'created', 0, 0, 0, %s, %s)",
                (mark, now, self.process),
            )

    def _upgrade(self, raw: Raw) -> None:
        """Turn an older format into this one, in one transaction, unless another process was faster."""
        with raw.transaction():
            raw.execute("SELECT pg_advisory_xact_lock(%s, 0)", (_LOCK,))
            raw.execute(f'SET LOCAL search_path = "{self.schema}"'.encode())
            for version in range(self._format(raw) or schema.FORMAT, schema.FORMAT):
                raw.execute(schema.STEPS[version].encode())
            people = raw.execute("SELECT id, name FROM identities WHERE name IS NOT NULL AND folded IS NULL").fetchall()
            raw.cursor().executemany(
                "UPDATE identities SET folded = %s WHERE id = %s", [(folded(name), number) for number, name in people]
            )
            raw.execute("UPDATE gallery SET format = %s", (schema.FORMAT,))

    def _extension(self, raw: Raw) -> str:
        """Return the schema of pgvector. Raises UnknownFormat if it is not there or too old."""
        row = raw.execute(
            "SELECT e.extversion, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'vector'"
        ).fetchone()
        least = ".".join(map(str, schema.LEAST_PGVECTOR))
        if row is None or tuple(int(part) for part in row[0].split(".")[:2]) < schema.LEAST_PGVECTOR:
            raise UnknownFormat(f"the database {self.url} needs the extension pgvector {least} or later")
        return str(row[1]).replace('"', '""')

    @property
    def place(self) -> DatabaseUrl:
        """The address."""
        return self.url

    @contextlib.contextmanager
    def read(self) -> Iterator[PostgresConnection]:
        """Lend a connection for reading; each statement sees the newest commit of any process."""
        self.check_usable()
        raw = self._idle() or self._connect()
        try:
            with self._translated(raw):
                connection = PostgresConnection(raw, self.check_model)
                connection.same_model()
                yield connection
        finally:
            _end(raw)
            with self._pool_lock:
                keep = not self._closed and not raw.closed and len(self._pool) < _IDLE
                if keep:
                    self._pool.append(raw)
            if not keep:
                raw.close()

    def _idle(self) -> Raw | None:
        """Return a connection that is at hand and, as far as is known without asking, still there."""
        while True:
            with self._pool_lock:
                if not self._pool:
                    return None
                raw = self._pool.pop()
            if _alive(raw):
                return raw
            raw.close()

    @contextlib.contextmanager
    def write(self, *, scrub: bool = False) -> Iterator[PostgresConnection]:  # noqa: ARG002 - see `Storage.write`
        """A write transaction: committed and on the disk when left normally, as if it never began otherwise."""
        with self._alone() as connection:
            yield connection
            try:
                done = connection.raw.execute("COMMIT")
            except psycopg.OperationalError as error:
                raise GalleryUnreachable(
                    f"the server of {self.url} went away while a write was being committed; "
                    "it may have been kept or not: look before you repeat it",
                    errno.ECONNRESET,
                ) from error
            if done.statusmessage != "COMMIT":
                raise GalleryError(f"{self.url} did not commit a write, but answered {done.statusmessage}")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep every process from writing for a moment."""
        with self._alone():
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[PostgresConnection]:
        """Begin a transaction as the only writer, and undo what is not committed in the end."""
        self.check_usable()
        with self._write_lock:
            self.check_usable()
            if self._writing is not None and not _alive(self._writing):
                self._writing.close()
                self._writing = None
            if self._writing is None:
                self._writing = self._connect()
            raw = self._writing
            with self._translated(raw):
                try:
                    raw.execute("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
                    raw.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, self.schema))
                    connection = PostgresConnection(raw, self.check_model)
                    connection.same_model()
                    yield connection
                finally:
                    _end(raw)

    def maintain(self, statements: Sequence[str]) -> None:
        """Execute statements of which each is a transaction by itself, such as VACUUM, however long they take."""
        self.check_usable()
        raw = self._connect()
        try:
            with self._translated(raw):
                raw.execute("SET lock_timeout = 0")
                for statement in statements:
                    raw.execute(statement.encode())
        finally:
            raw.close()

    def close(self) -> None:
        """Give everything back; a second call does nothing. Waits for a write that is under way."""
        if not self.usable:
            return
        with self._write_lock, self._pool_lock:
            self._closed = True
            for raw in (*self._pool, *([] if self._writing is None else [self._writing])):
                raw.close()
            self._pool, self._writing = [], None

    @contextlib.contextmanager
    def _translated(self, raw: Raw | None = None) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._explain(error, raw) from error

    def _refused(self, error: psycopg.Error) -> GalleryError:
        """Say why there is no connection; the server tells it in words only."""
        text = redact_text(" ".join(str(error).split()))
        if "authentication failed" in text or "no password supplied" in text or "pg_hba.conf" in text:
            return AccessDenied(
                f"{self.url} refused user or password; give them in the address, or the password in "
                f"PGPASSWORD or ~/.pgpass ({text})"
            )
        if "FATAL: database" in text and "does not exist" in text:
            return GalleryNotFound(f"there is no such database: {self.url}; make it with `createdb` ({text})")
        return GalleryUnreachable(f"{self.url} cannot be reached: {text}", errno.ECONNREFUSED)

    def _explain(self, error: psycopg.Error, raw: Raw | None) -> GalleryError:
        # The detail of a message may hold names of people; its first line does not.
        said = error.diag.message_primary or type(error).__name__
        if isinstance(error, errors.LockNotAvailable):
            return GalleryBusy(
                f"the gallery {self.url} is busy: {self._holder()} has been writing to it for {self._timeout:g} s; "
                "try again when it is done"
            )
        lost = isinstance(error, psycopg.OperationalError) and (raw is None or raw.closed)
        if lost or isinstance(error, errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow):
            return GalleryUnreachable(
                f"the server of {self.url} went away ({said}); repeat this when it is back", errno.ECONNRESET
            )
        if isinstance(error, errors.DiskFull):
            return StorageError(f"the disk of {self.url} is full; nothing of this write was kept", errno.ENOSPC)
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return StorageError(f"{self.url} may only be read (a standby?); write to the primary server", errno.EROFS)
        if isinstance(error, errors.InsufficientPrivilege):
            return AccessDenied(f"{self.url} does not allow this user that: {said}")
        if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
            return GalleryCorrupt(f"{self.url} is damaged ({said}); restore a dump")
        return GalleryError(f"the database {self.url} refused an operation: {said}")

    def _holder(self) -> str:
        """Say who holds the write lock."""
        try:
            with contextlib.closing(self._connect()) as raw:
                row = raw.execute(
                    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                    "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s "
                    "AND CAST(l.objid AS bigint) = (CAST(hashtext(%s) AS bigint) & 4294967295) "
                    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                    (_LOCK, self.schema),
                ).fetchone()
        except (psycopg.Error, GalleryError) as error:
            _log.debug("who writes to %s is not known: %s", self.url, error)
            row = None
        return row[0] if row and row[0] else "another process"


def _end(raw: Raw) -> None:
    """Undo a transaction that is still open; a connection that cannot do that is closed."""
    if raw.closed or raw.info.transaction_status == TransactionStatus.IDLE:
        return
    try:
        raw.execute("ROLLBACK")
    except psycopg.Error:
        raw.close()


def _alive(raw: Raw) -> bool:
    """Whether nothing has come in on a connection on which nothing was asked: a server that goes away says so."""
    if raw.closed:
        return False
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLIN)
    return not poll.poll(0)
