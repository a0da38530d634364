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
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vultus.configs.schema import Audit as Rules
from vultus.index.errors import GalleryError, StorageError
from vultus.index.paging import Order, Page, check_limit
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
Actor = tuple[str, str | None]
"""Who acts, and from where if that is known."""
_ACTING: ContextVar[Actor | None] = ContextVar("actor", default=None)
_NEWEST = Order("time of audit", ("at", "which", "number"), (float, int, int), descending=True)
_NOTES, _CHANGES = 1, 0
"""Which of two entries of the same time comes first."""


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Somebody did something."""

    at: float
    actor: str | None
    """Operating system's user, or who `Audit.acting` or `Gallery.open` said; none if auditing was off at the time."""
    program: str
    operation: str
    """A kind of the journal (`vultus.index.journal`), or "search", "export", "backup", "convert", "key", or what a server
    notes."""
    people: tuple[int, ...] = ()
    """Numbers of those who were found, changed, or looked at."""
    faces: int = 0
    """Probes of a search, faces of a change."""
    k: int | None = None
    threshold: float | None = None
    via: str | None = None
    """Where the actor came from, as `Audit.acting` said it: an address, a key, a session."""


class AuditWhere(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries are wanted; fields that are set must all hold."""

    after: float | None = None
    """Of this time or later, seconds since the epoch."""
    before: float | None = None
    """Earlier than this."""
    actor: str | None = None
    operations: tuple[str, ...] | None = None
    """Of one of these kinds."""


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

    def actor(self) -> Actor:
        """Who acts now, in this thread or task, and from where."""
        return _ACTING.get() or (self._actor, None)

    @contextlib.contextmanager
    def acting(self, actor: str, via: str | None = None) -> Iterator[None]:
        """Record what is done inside as done by `actor`, a user of a server for instance, who came `via` an address.

        It holds in this thread or task, and wherever its context is copied to, as `asyncio.to_thread` does.
        """
        token = _ACTING.set(
            (clean_actor(actor), None if via is None else clean_actor(via, "where an actor comes from"))
        )
        try:
            yield
        finally:
            _ACTING.reset(token)

    def searched(
        self, searches: Sequence[tuple[Sequence[Sequence[Match | NearFace]], Actor]], k: int, threshold: float | None
    ) -> None:
        """Record searches: for each the answer, a list of matches for each probe, and whose it was."""
        if self.enabled:
            self._add(
                [self._entry("search", _found(answers), len(answers), k, threshold, by) for answers, by in searches]
            )

    def note(self, operation: str, people: Sequence[int] = ()) -> None:
        """Record what is neither a search nor a change."""
        if self.enabled:
            self._add([self._entry(operation, people, 0, None, None, self.actor())])

    def _entry(
        self, what: str, people: Sequence[int], faces: int, k: int | None, threshold: float | None, by: Actor
    ) -> tuple[object, ...]:
        listed = json.dumps(people[:_MOST_PEOPLE])
        return (time.time(), *by, self._store.process, what, listed, faces, k, threshold)

    def _add(self, entries: list[tuple[object, ...]]) -> None:
        with self._changed:
            due = not self._waiting
            self._waiting += entries
            full = len(self._waiting) > _MOST_WAITING
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vultus-audit", daemon=True)
                self._thread.start()
            if due:
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
                        "INSERT INTO audit (at, actor, via, program, operation, people, faces, k, threshold) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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

    def entries(self, since: float = 0.0, limit: int = 1000, where: AuditWhere | None = None) -> list[AuditEntry]:
        """Return the last `limit` entries that are not older than `since`, oldest first: changes, searches and notes."""
        wanted = replace(where or AuditWhere(), after=since)
        return [entry for *_, entry in self._newest(wanted, limit, None)][::-1]

    def page(self, where: AuditWhere | None = None, *, limit: int = 100, cursor: str | None = None) -> Page[AuditEntry]:
        """Return entries, the newest first: changes, searches and notes. Raises ValueError for a wrong cursor."""
        check_limit(limit)
        place = None if cursor is None else _NEWEST.place(cursor)
        return _NEWEST.page(self._newest(where or AuditWhere(), limit + 1, place), limit, lambda rest: rest[0])

    def _newest(
        self, where: AuditWhere, limit: int, place: tuple[Any, ...] | None
    ) -> list[tuple[float, int, int, AuditEntry]]:
        """Return the newest entries beyond a place, each with its own: time, which table, number."""
        if self.enabled and not self._store.read_only:
            self.flush()
        with self._store.read() as connection:
            connection.steady()
            terms, values = _terms(where, "operation", _NOTES, "id", place)
            notes = connection.execute(
                "SELECT at, id, actor, via, program, operation, people, faces, k, threshold FROM audit "  # noqa: S608
                f"WHERE {terms} ORDER BY at DESC, id DESC LIMIT ?",
                (*values, limit),
            )
            found = [(row[0], _NOTES, row[1], _note(row)) for row in notes]
            terms, values = _terms(where, "kind", _CHANGES, "seq", place)
            changes = connection.execute(
                "SELECT at, seq, actor, via, writer, kind, first, last, faces FROM changes "  # noqa: S608
                f"WHERE {terms} ORDER BY at DESC, seq DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
            found += [(row[0], _CHANGES, row[1], _change(connection, row)) for row in changes]
        return sorted(found, key=lambda one: one[:3], reverse=True)[:limit]

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


def _terms(
    where: AuditWhere, operation: str, which: int, number: str, place: tuple[Any, ...] | None
) -> tuple[str, list[Any]]:
    """Return SQL for the entries of one of the two tables that are wanted, and its parameters."""
    terms, values = ["at >= ?"], list[Any]([where.after or 0.0])
    if where.before is not None:
        terms.append("at < ?")
        values.append(where.before)
    if where.actor is not None:
        terms.append("actor = ?")
        values.append(where.actor)
    if where.operations is not None:
        terms.append(f"{operation} IN (SELECT CAST(value AS TEXT) FROM json_each(?))")  # noqa: S608 - a column
        values.append(json.dumps(where.operations))
    if place is not None:
        terms.append(f"(at, {which}, {number}) < (?, ?, ?)")
        values += place
    return " AND ".join(terms), values


def _prune(connection: Connection, before: float) -> int:
    """Notes go; of changes, which other processes' indexes follow, it is forgotten who made them."""
    gone = connection.execute("DELETE FROM audit WHERE at < ?", (before,)).rowcount
    return (
        gone
        + connection.execute(
            "UPDATE changes SET writer = '', actor = NULL, via = NULL WHERE at < ? AND writer <> ''", (before,)
        ).rowcount
    )


def _note(row: tuple[Any, ...]) -> AuditEntry:
    at, _, actor, via, program, operation, people, faces, k, threshold = row
    return AuditEntry(
        at=at,
        actor=actor,
        via=via,
        program=program,
        operation=operation,
        people=tuple(json.loads(people)),
        faces=faces,
        k=k,
        threshold=threshold,
    )


def _change(connection: Connection, row: tuple[Any, ...]) -> AuditEntry:
    at, _, actor, via, program, kind, first, last, faces = row
    people: tuple[int, ...] = ()
    if kind in ("dropped", "merged", "renamed", "hidden"):
        people = tuple(dict.fromkeys((first, last)))
    elif kind in ("added", "moved"):  # whose they are now
        owners = connection.execute(
            "SELECT DISTINCT identity FROM faces WHERE id BETWEEN ? AND ? AND identity IS NOT NULL LIMIT ?",
            (first, last, _MOST_PEOPLE),
        )
        people = tuple(number for (number,) in owners)
    return AuditEntry(at=at, actor=actor, via=via, program=program, operation=kind, people=people, faces=faces)


def _found(answers: Sequence[Sequence[Match | NearFace]]) -> list[int]:
    """Return the people of an answer, each once."""
    return list(dict.fromkeys(match.identity for answer in answers for match in answer if match.identity is not None))


def clean_actor(actor: str, what: str = "an actor") -> str:
    """Return what an actor, or `what`, is recorded as. Raises ValueError for what is no name of one."""
    if not (isinstance(actor, str) and 1 <= len(actor) <= MAX_ACTOR and actor.isprintable()):
        raise ValueError(f"{what} has 1 to {MAX_ACTOR} printable characters, not {actor!a:.220}")
    return actor


def os_user() -> str:
    """The operating system's name for the user of this process, or the number if there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
