"""What makes events of the gallery's sightings, and keeps the log within its bounds."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from vultus.index.errors import GalleryError
from vultus.index.gallery import Gallery
from vultus.index.types import Sighting
from vultus.server.events.log import EventLog, New
from vultus.server.store import Store

_log = logging.getLogger("vultus.server")

_LOOK_EVERY = 0.2
"""Seconds. The gallery is written by stage processes and by other programs, which nothing tells of but the gallery; asking
it whether there is something above a number costs some 50 microseconds."""
_AT_ONCE = 500
"""Sightings of one transaction."""
_PRUNE_EVERY = 600.0
_PAUSES = (0.5, 10.0)
"""Seconds before another attempt after an error: the first and the longest."""
_CURSOR = "gallery"

Alerts = Callable[[sqlite3.Connection, Sighting, str], Sequence[New]]
"""Which alerts a sighting of a visit raises; asked inside the transaction that writes its event, after that."""


def visit(sighting: Sighting) -> str:
    """The key of a visit: all sightings of the same run, source and track."""
    told = "\0".join((sighting.run, sighting.source, str(sighting.track)))
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class Pump:
    """Follows the gallery by cursor, in a thread between `open` and `close`.

    Events and the cursor go into the log in one transaction: whatever is killed when, each sighting that is in the gallery
    when it is looked at gets one event. A sighting that was replaced before, by a later one of the same visit, is told by that.
    Of hidden people nothing is told.
    """

    def __init__(self, gallery: Gallery, store: Store, log: EventLog, alerts: Alerts) -> None:
        self._gallery, self._store, self._events, self._alerts = gallery, store, log, alerts
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events-pump", daemon=True)
        self.behind = 0.0
        """Seconds for which errors have kept it from following; 0 while it follows."""

    def open(self) -> None:
        """Begin: after what was told last, or, the first time and of another gallery, with what comes from now on."""
        place, newest = str(self._gallery.path), self._gallery.newest_sighting()
        with self._store.write() as connection:
            kept = connection.execute("SELECT value FROM settings WHERE name = 'events.gallery'").fetchone()
            if kept is not None and kept[0] == place and _position(connection) > newest:
                _log.warning("events: the gallery was put back to an earlier state; followed from now on")
            elif kept is not None and kept[0] == place:
                newest = _position(connection)
            connection.execute(
                "INSERT INTO cursors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position",
                (_CURSOR, newest),
            )
            connection.execute(
                "INSERT INTO settings VALUES ('events.gallery', ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (place,),
            )
        self._thread.start()

    def close(self) -> None:
        """End, after the transaction that is under way."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def position(self) -> int:
        """Number of the last sighting that was taken in."""
        with self._store.read() as connection:
            return _position(connection)

    def step(self) -> int:
        """Take in the next sightings; returns how many there were."""
        found = self._gallery.sightings(self.position, _AT_ONCE)
        if not found:
            return 0
        with self._store.write() as connection:
            last = _position(connection)  # another server on the same folder may have been faster
            for sighting in found:
                if sighting.id > last and not sighting.hidden:
                    self._take(connection, sighting)
            connection.execute("UPDATE cursors SET position = max(position, ?) WHERE name = ?", (found[-1].id, _CURSOR))
        self._events.announce()
        return len(found)

    def _take(self, connection: sqlite3.Connection, sighting: Sighting) -> None:
        key = visit(sighting)
        told = connection.execute("SELECT 1 FROM events WHERE visit = ? LIMIT 1", (key,)).fetchone() is not None
        self._events.add(connection, event_of(sighting, key, update=told))
        for alert in self._alerts(connection, sighting, key):
            self._events.add(connection, alert)

    def _run(self) -> None:
        pause, prune_at, failing_since = _PAUSES[0], 0.0, None
        while not self._end.is_set():
            try:
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + _PRUNE_EVERY
                    self._events.prune()
                moved = self.step()
            except (GalleryError, OSError, sqlite3.Error) as error:
                now = time.monotonic()
                if failing_since is None:
                    failing_since = now
                    _log.warning("events: sightings cannot be followed now, will be later: %s", error)
                self.behind = now - failing_since
                self._end.wait(pause)
                pause = min(2 * pause, _PAUSES[1])
                continue
            if failing_since is not None:
                _log.info("events: sightings are followed again")
            pause, failing_since, self.behind = _PAUSES[0], None, 0.0
            if not moved:
                self._end.wait(_LOOK_EVERY)


def event_of(sighting: Sighting, key: str, *, update: bool) -> New:
    """The event that tells of a sighting."""
    return New(
        kind="sighting",
        source=sighting.source,
        identity=sighting.identity,
        visit=key,
        time=sighting.time,
        payload={"sighting": seen(sighting, update=update)},
    )


def seen(sighting: Sighting, *, update: bool) -> dict[str, object]:
    """What an event keeps of a sighting beside source and person."""
    return {
        "number": sighting.id,
        "update": update,
        "known": sighting.name is not None,
        "time": sighting.time,
        "position": sighting.position,
        "similarity": sighting.similarity,
        "quality": sighting.quality,
        "box": sighting.box,
    }


def _position(connection: sqlite3.Connection) -> int:
    (position,) = connection.execute("SELECT position FROM cursors WHERE name = ?", (_CURSOR,)).fetchone()
    return int(position)
