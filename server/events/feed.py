"""Events on their way out: with the names that people have now, without those of hidden people, and, for many who listen at
once, read from the log once for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from vultus.index.errors import GalleryError, UnknownIdentity
from vultus.index.gallery import Gallery
from vultus.server.events.log import EVERYTHING, EventLog, Stretch, Wanted
from vultus.server.events.shapes import Event, event

_log = logging.getLogger("vultus.server")

_RECENT = 512
"""Events in memory for those who listen; who is further behind reads the log."""
_PAUSE = 1.0
"""Seconds before another attempt when names cannot be looked up."""


class Told(Struct, frozen=True):
    """A piece of the log as it goes out."""

    events: tuple[Event, ...]
    reached: int
    """The cursor after it."""
    oldest: int
    newest: int
    more: bool
    """Whether the log has more of what is wanted after (or, reading back, before) it, as far as is known."""

    def follows(self, cursor: int) -> bool:
        """Whether nothing was deleted between the cursor and the log, whose it is."""
        return self.oldest - 1 <= cursor <= self.newest


class _Recent(Struct, frozen=True):
    """The end of the log: everything after `start` up to `reached`."""

    start: int
    reached: int
    events: tuple[Event, ...]


class Listener:
    """One who listens on an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def ring(self) -> None:
        """Wake it; from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # its loop has ended, and it with that
            _log.debug("a listener was gone")

    async def wait(self, seconds: float) -> None:
        """Wait for news or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()


class Feed:
    """Reads the log for everybody outside. Between `open` and `close` a thread wakes those who listen."""

    def __init__(self, gallery: Gallery, log: EventLog) -> None:
        self._gallery, self._events = gallery, log
        self._recent = _Recent(log.newest, log.newest, ())
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="events-feed", daemon=True)
        self._news = threading.Event()
        self.ended = False
        """Whether streams are to end."""

    def open(self) -> None:
        """Begin to wake listeners."""
        self._thread.start()

    def hang_up(self) -> None:
        """End all streams, so that the server may stop; does not wait."""
        self.ended = True
        self._ring()

    def close(self) -> None:
        """Hang up, and end the thread."""
        self.hang_up()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    def after(self, cursor: int, limit: int, wanted: Wanted = EVERYTHING) -> Told:
        """Return up to `limit` events after the cursor, oldest first. Blocks for the database."""
        return self._told(self._events.after(cursor, limit, wanted), limit)

    def before(self, cursor: int | None, limit: int, wanted: Wanted = EVERYTHING) -> Told:
        """Return up to `limit` events before the cursor (none: the newest), newest first. Blocks likewise."""
        return self._told(self._events.before(cursor, limit, wanted), limit)

    def recent(self, cursor: int, wanted: Wanted) -> tuple[list[Event], int] | None:
        """Return what is wanted after the cursor and the cursor after that, from memory; none if that does not reach back."""
        recent = self._recent
        if cursor < recent.start or cursor > recent.reached:
            return None
        return [one for one in recent.events if one.id > cursor and matches(one, wanted)], recent.reached

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Be woken at news, on this event loop."""
        listener = Listener()
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def _told(self, stretch: Stretch, limit: int) -> Told:
        """With names, and without hidden people."""
        rows = stretch.rows
        people: dict[int, tuple[str | None, bool]] = {}
        for identity in {row.identity for row in rows if row.identity is not None}:
            try:
                person = self._gallery.identity(identity)
                people[identity] = person.name, person.hidden
            except UnknownIdentity:
                people[identity] = None, False
        told = []
        for row in rows:
            name, hidden = (None, False) if row.identity is None else people[row.identity]
            if not hidden:
                told.append(event(row, name))
        return Told(tuple(told), stretch.reached, stretch.oldest, stretch.newest, len(rows) == limit)

    def _run(self) -> None:
        with self._events.followed(self._news):
            while True:
                self._news.clear()
                if self.ended:
                    return
                try:
                    behind = self._events.newest > self._recent.reached
                    if behind:
                        self._advance()
                except (GalleryError, OSError, sqlite3.Error) as error:
                    _log.warning("events: listeners have to wait: %s", error)
                    self._news.wait(_PAUSE)
                    continue
                if behind:
                    self._ring()
                else:
                    self._news.wait()

    def _advance(self) -> None:
        """Read on for those who listen; while nobody does, just go on."""
        former = self._recent
        if not self._listeners or self._events.newest - former.reached > _RECENT:
            self._recent = _Recent(self._events.newest, self._events.newest, ())
            return
        told = self.after(former.reached, _RECENT)
        events = (*former.events, *told.events)[-_RECENT:]
        start = former.start if len(events) < _RECENT else events[0].id - 1
        self._recent = _Recent(start, told.reached, events)

    def _ring(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.ring()


def matches(one: Event, wanted: Wanted) -> bool:
    """Whether an event is wanted; what `EventLog.after` asks the database."""
    return (
        (not wanted.kinds or one.kind in wanted.kinds)
        and (wanted.source is None or one.source == wanted.source)
        and (wanted.identity is None or one.identity == wanted.identity)
        and (not wanted.rules or one.alert is None or one.alert.rule in wanted.rules)
    )
