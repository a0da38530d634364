"""The log of what happened: one row an event, in the order in which they were committed.

Numbers rise and are never used again, so the number of the last event that somebody has seen is a cursor. Everything that
tells of events (streams, webhooks, MQTT) reads here, each behind a cursor of its own; nothing waits in memory.

An event holds the number of a person, never a name or a picture: what is deleted from the gallery is gone from here too.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from vultus.configs.serving import Events as Rules
from vultus.server.store import Store

Kind = Literal["sighting", "alert", "camera", "job", "unknown"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_PAYLOAD = 64_000
"""Bytes of JSON that an event may have."""
_PRUNED_AT_ONCE = 5_000
"""Events that one transaction deletes, so that nobody waits for it."""


class New(Struct, frozen=True, kw_only=True):
    """An event to be written."""

    kind: Kind
    payload: object
    """What becomes JSON; `vultus.server.events.shapes` says of which kind."""
    source: str | None = None
    """Camera or file."""
    identity: int | None = None
    visit: str | None = None
    """Who crossed the picture once: events of the same visit have the same key."""
    rule: int | None = None
    """Of an alert."""
    time: float | None = None
    """When it happened, in seconds since the epoch; none: now."""


class Row(Struct, frozen=True, kw_only=True):
    """An event as the log holds it."""

    id: int
    kind: Kind
    written: float
    """When it was written, in seconds since the epoch; `time` is when it happened."""
    time: float
    source: str | None
    identity: int | None
    visit: str | None
    payload: bytes


class Wanted(Struct, frozen=True, kw_only=True):
    """Which events somebody wants; fields that are set must all hold."""

    kinds: tuple[Kind, ...] = ()
    """Empty: all."""
    source: str | None = None
    identity: int | None = None
    rules: tuple[int, ...] = ()
    """Alerts of these rules only; other kinds are not touched by it. Empty: all."""


EVERYTHING = Wanted()


class Stretch(Struct, frozen=True):
    """A piece of the log."""

    rows: tuple[Row, ...]
    reached: int
    """The cursor after it: nothing that is wanted lies between the last row and this."""
    oldest: int
    """Number of the oldest event that is kept, or of the next one if none is."""
    newest: int
    """Number of the newest event there ever was, 0 before the first."""


class EventLog:
    """The events of the server's store. All methods may be called from any thread."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store, self._rules = store, rules
        self._lock = threading.Lock()
        self._followers: set[threading.Event] = set()
        self._newest = self.span()[1]

    def add(self, connection: sqlite3.Connection, new: New) -> int:
        """Write an event inside the caller's transaction and return its number; `announce` comes after the commit."""
        payload = msgspec.json.encode(new.payload)
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"an event may have {MAX_PAYLOAD} bytes of JSON, not {len(payload)}")
        row: tuple[int] = connection.execute(
            "INSERT INTO events (kind, written, time, source, identity, visit, rule, payload) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                new.kind,
                now := time.time(),
                now if new.time is None else new.time,
                new.source,
                new.identity,
                new.visit,
                new.rule,
                payload,
            ),
        ).fetchone()
        return row[0]

    def append(
        self, kind: Kind, *, source: str | None = None, identity: int | None = None, details: object = None
    ) -> int:
        """Write an event that happens now; it is on the disk when its number is returned."""
        with self._store.write() as connection:
            number = self.add(
                connection, New(kind=kind, source=source, identity=identity, payload={"details": details})
            )
        self.announce()
        return number

    def announce(self) -> None:
        """Tell whoever follows the log that events were committed."""
        newest = self.span()[1]
        with self._lock:
            self._newest = max(self._newest, newest)
            followers = list(self._followers)
        for news in followers:
            news.set()

    @contextmanager
    def followed(self, news: threading.Event) -> Iterator[None]:
        """While inside, `news` is set after every commit."""
        with self._lock:
            self._followers.add(news)
        try:
            yield
        finally:
            with self._lock:
                self._followers.discard(news)

    @property
    def newest(self) -> int:
        """Number of the newest event that was announced."""
        return self._newest

    def span(self) -> tuple[int, int]:
        """Numbers of the oldest event that is kept (or of the next one, if none is) and of the newest there ever was."""
        with self._store.read() as connection:
            return _span(connection)

    def after(self, cursor: int, limit: int, wanted: Wanted = EVERYTHING) -> Stretch:
        """Return up to `limit` events with a number above the cursor, oldest first."""
        with self._store.read() as connection:
            oldest, newest = _span(connection)
            rows = _rows(connection, "id > ?", cursor, "ASC", limit, wanted)
        return Stretch(rows, rows[-1].id if len(rows) == limit else max(cursor, newest), oldest, newest)

    def before(self, cursor: int | None, limit: int, wanted: Wanted = EVERYTHING) -> Stretch:
        """Return up to `limit` events with a number below the cursor (none: all), newest first."""
        with self._store.read() as connection:
            oldest, newest = _span(connection)
            rows = _rows(connection, "id < ?", newest + 1 if cursor is None else cursor, "DESC", limit, wanted)
        return Stretch(rows, rows[-1].id if rows else 0, oldest, newest)

    def count(self, cursor: int, limit: int, wanted: Wanted = EVERYTHING) -> int:
        """How many events there are after the cursor, counted up to `limit`."""
        condition, values = _condition("id > ?", cursor, wanted)
        with self._store.read() as connection:
            (count,) = connection.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM events WHERE {condition} LIMIT ?)",  # noqa: S608 - words of ours only
                (*values, limit),
            ).fetchone()
        return int(count)

    def prune(self, now: float | None = None) -> int:
        """Delete what is older or more than the configuration keeps; return how many events that were."""
        deleted = 0
        while True:
            with self._store.write() as connection:
                before = _span(connection)[1] - self._rules.keep
                if self._rules.keep_days is not None:
                    aged = (time.time() if now is None else now) - self._rules.keep_days * 86_400
                    # In the order of numbers: a clock that was set back must not make holes.
                    young = connection.execute(
                        "SELECT id FROM events WHERE written >= ? ORDER BY id LIMIT 1", (aged,)
                    ).fetchone()
                    before = max(before, _span(connection)[1] if young is None else young[0] - 1)
                gone = connection.execute(
                    "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ? ORDER BY id LIMIT ?)",
                    (before, _PRUNED_AT_ONCE),
                ).rowcount
            deleted += gone
            if gone < _PRUNED_AT_ONCE:
                return deleted


def _span(connection: sqlite3.Connection) -> tuple[int, int]:
    oldest, newest = connection.execute(
        "SELECT (SELECT min(id) FROM events), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"
    ).fetchone()
    return newest + 1 if oldest is None else oldest, newest


def _rows(
    connection: sqlite3.Connection, where: str, cursor: int, order: str, limit: int, wanted: Wanted
) -> tuple[Row, ...]:
    condition, values = _condition(where, cursor, wanted)
    found = connection.execute(
        "SELECT id, kind, written, time, source, identity, visit, payload FROM events "  # noqa: S608 - words of ours only
        f"WHERE {condition} ORDER BY id {order} LIMIT ?",
        (*values, limit),
    )
    return tuple(Row(**dict(zip(Row.__struct_fields__, row, strict=True))) for row in found)


def _condition(where: str, cursor: int, wanted: Wanted) -> tuple[str, list[object]]:
    """What a WHERE says, and the values of its marks."""
    parts: list[tuple[str, object]] = [(where, cursor)]
    if wanted.kinds:
        parts.append(("kind IN (SELECT value FROM json_each(?))", msgspec.json.encode(wanted.kinds).decode()))
    if wanted.source is not None:
        parts.append(("source = ?", wanted.source))
    if wanted.identity is not None:
        parts.append(("identity = ?", wanted.identity))
    if wanted.rules:
        listed = msgspec.json.encode(wanted.rules).decode()
        parts.append(("(rule IS NULL OR rule IN (SELECT value FROM json_each(?)))", listed))
    return " AND ".join(part for part, _ in parts), [value for _, value in parts]
