"""Who searched for whom and who changed what: numbers only, so that erasing a person never has to hunt here.

Changes are in the journal anyway, in the transaction of the change itself; auditing adds the actor to its `writer`.
Searches, and what else is no change, have a table of their own, which a thread fills once in a second: a search costs
the entry in a list, and a process that is killed loses the entries of the last second. With `strict` a search answers
only when its entry is on the disk. What cannot be written (full disk, busy gallery) is tried again, and when too much
waits, searches wait for it, and fail if it fails: no search goes unrecorded for long.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import pwd
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from msgspec import Struct

from vultus.configs.schema import Audit as Rules
from vultus.index.errors import GalleryError, StorageError
from vultus.index.storage import Connection, Storage
from vultus.index.types import Match, NearFace

_log = logging.getLogger("vultus.index")

MAX_ACTOR = 200
_EVERY = 1.0
"""Seconds between two writings."""
_MOST_WAITING = 10_000
_MOST_PEOPLE = 1000
"""People that one entry names; a batch of probes may find more."""
_DAY = 86400.0
_ACTING: ContextVar[str | None] = ContextVar("actor", default=None)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Somebody did something."""

    at: float
    actor: str | None
    """Operating system's user, or who `Audit.acting` or `Gallery.open` said; none if auditing was off at the time."""
    program: str
    operation: str
    """A kind of the journal (`vultus.index.journal`), or "search", "export", "backup", "convert", "compact"."""
    people: tuple[int, ...] = ()
    """Numbers of those who were found, changed, or looked at."""
    faces: int = 0
    """Probes of a search, faces of a change."""
    k: int | None = None
    threshold: float | None = None


class Audit:
    """The log of one open gallery; `Gallery.audit`."""

    def __init__(self, store: Storage, rules: Rules, actor: str | None) -> None:
        self.enabled = bool(rules.enabled)
        self._store = store
        self._rules = rules
        self._actor = clean_actor(actor) if actor is not None else os_user()
        self._waiting: list[tuple[object, ...]] = []
        self._changed = threading.Condition()
        self._flushing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._pruned = -_DAY
        if self.enabled:
            if store.read_only:
                raise StorageError(
                    f"{store.place} may only be read, so searches of it cannot be recorded; "
                    "set audit.enabled to false to search it without",
                    errno.EROFS,
                )
            store.actor = self.actor

    def actor(self) -> str:
        """Who acts now, in this thread or task."""
        return _ACTING.get() or self._actor

    @contextlib.contextmanager
    def acting(self, actor: str) -> Iterator[None]:
        """Record what this thread or task does inside as done by `actor`, a user of a server for instance."""
        token = _ACTING.set(clean_actor(actor))
        try:
            yield
        finally:
            _ACTING.reset(token)

    def searched(self, answers: Sequence[Sequence[Match | NearFace]], k: int, threshold: float | None) -> None:
        """Record a search with its answer, a list of matches for each probe."""
        if self.enabled:
            found = dict.fromkeys(
                match.identity for answer in answers for match in answer if match.identity is not None
            )
            self._add("search", list(found), len(answers), k, threshold)

    def note(self, operation: str, people: Sequence[int] = ()) -> None:
        """Record what is neither a search nor a change."""
        if self.enabled:
            self._add(operation, people, 0, None, None)

    def _add(self, what: str, people: Sequence[int], faces: int, k: int | None, threshold: float | None) -> None:
        listed = json.dumps(people[:_MOST_PEOPLE])
        entry = (time.time(), self.actor(), self._store.process, what, listed, faces, k, threshold)
        with self._changed:
            self._waiting.append(entry)
            full = len(self._waiting) > _MOST_WAITING
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vultus-audit", daemon=True)
                self._thread.start()
            if len(self._waiting) == 1:
                self._changed.notify()  # for the others the thread does not have to wake up: it wakes up by itself
        if full or self._rules.strict:
            self.flush()

    def flush(self) -> None:
        """Put everything recorded so far on the disk. Raises what a write raises; nothing is lost then."""
        with self._flushing:
            with self._changed:
                entries = self._waiting[:]
            if entries:
                with self._store.write() as connection:
                    connection.executemany(
                        "INSERT INTO audit (at, actor, program, operation, people, faces, k, threshold) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        entries,
                    )
                    if self._rules.keep_days is not None and time.monotonic() - self._pruned > _DAY / 24:
                        _prune(connection, time.time() - self._rules.keep_days * _DAY)
                        self._pruned = time.monotonic()
            with self._changed:
                del self._waiting[: len(entries)]

    def prune(self, before: float) -> int:
        """Forget who did what before that time, seconds since the epoch; return how many entries that concerned."""
        with self._store.write(scrub=True) as connection:
            return _prune(connection, before)

    def entries(self, since: float = 0.0, limit: int = 1000) -> list[AuditEntry]:
        """Return the last `limit` entries that are not older than `since`, oldest first: changes, searches and notes."""
        if self.enabled and not self._store.read_only:
            self.flush()
        with self._store.read() as connection:
            connection.steady()
            notes = connection.execute(
                "SELECT at, actor, program, operation, people, faces, k, threshold FROM audit "
                "WHERE at >= ? ORDER BY at DESC, id DESC LIMIT ?",
                (since, limit),
            )
            found = [_note(row) for row in notes]
            changes = connection.execute(
                "SELECT at, writer, kind, first, last, faces FROM changes WHERE at >= ? ORDER BY seq DESC LIMIT ?",
                (since, limit),
            ).fetchall()
            found += [_change(connection, row) for row in changes]
        return sorted(found, key=lambda entry: entry.at)[-limit:]

    def close(self) -> None:
        """Write what is left; that it could not be is logged."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        try:
            if self._waiting:
                self.flush()
        except GalleryError as error:
            _log.warning("%d entries of the audit log are lost: %s", len(self._waiting), error)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            if self._closing.wait(_EVERY):
                return
            try:
                self.flush()
            except GalleryError as error:
                _log.warning("the audit log is not written now, and will be tried again: %s", error)


def _prune(connection: Connection, before: float) -> int:
    """Notes go; of changes, which other processes' indexes follow, it is forgotten who made them."""
    gone = connection.execute("DELETE FROM audit WHERE at < ?", (before,)).rowcount
    return gone + connection.execute("UPDATE changes SET writer = '' WHERE at < ? AND writer <> ''", (before,)).rowcount


def _note(row: tuple[float, str, str, str, str, int, int | None, float | None]) -> AuditEntry:
    at, actor, program, operation, people, faces, k, threshold = row
    return AuditEntry(
        at=at,
        actor=actor,
        program=program,
        operation=operation,
        people=tuple(json.loads(people)),
        faces=faces,
        k=k,
        threshold=threshold,
    )


def _change(connection: Connection, row: tuple[float, str, str, int, int, int]) -> AuditEntry:
    at, writer, kind, first, last, faces = row
    people: tuple[int, ...] = ()
    if kind in ("dropped", "merged", "renamed", "hidden"):
        people = tuple(dict.fromkeys((first, last)))
    elif kind in ("added", "moved"):  # whose they are now
        owners = connection.execute(
            "SELECT DISTINCT identity FROM faces WHERE id BETWEEN ? AND ? AND identity IS NOT NULL LIMIT ?",
            (first, last, _MOST_PEOPLE),
        )
        people = tuple(number for (number,) in owners)
    actor, comma, program = writer.rpartition(", process ")
    return AuditEntry(
        at=at,
        actor=actor or None,
        program=f"process {program}" if comma else writer,
        operation=kind,
        people=people,
        faces=faces,
    )


def clean_actor(actor: str) -> str:
    """Return what an actor is recorded as. Raises ValueError for what is no name of one."""
    if not (isinstance(actor, str) and 1 <= len(actor) <= MAX_ACTOR and actor.isprintable()):
        raise ValueError(f"an actor has 1 to {MAX_ACTOR} printable characters, not {actor!a:.220}")
    return actor


def os_user() -> str:
    """The operating system's name for the user of this process, or the number if there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
