"""What becomes of cameras, as events; and how large their pictures are, for the zones of rules."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading

from vultus.server.cameras.changes import CameraChange, WorkerChange
from vultus.server.events.log import EventLog, New
from vultus.server.store import Store

_log = logging.getLogger("vultus.server")

_WAITING = 10_000
"""Changes that may wait to be written; more come only if the disk takes none, and are left out then."""


class CameraEvents:
    """Writes events of the kind `camera`, in a thread between `open` and `close`, since who tells must not wait.

    A camera that is tried again and again is told of once: of attempts that end as the one before nothing is said.
    """

    def __init__(self, store: Store, log: EventLog) -> None:
        self._store, self._events = store, log
        self._changes: queue.Queue[CameraChange | None] = queue.Queue(_WAITING)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._told: dict[int, tuple[str, str]] = {}
        self._thread = threading.Thread(target=self._run, name="events-cameras", daemon=True)

    def open(self) -> None:
        """Begin, with the sizes of pictures that were known before."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT source, width, height FROM picture_sizes").fetchall()
        self._sizes = {source: (width, height) for source, width, height in rows}
        self._thread.start()

    def close(self) -> None:
        """Write what was told, and end."""
        self._changes.put(None)
        self._thread.join()

    def size(self, source: str) -> tuple[int, int] | None:
        """Width and height of a camera's picture, as it was when the camera was last connected."""
        return self._sizes.get(source)

    def changed(self, change: CameraChange | WorkerChange) -> None:
        """Take in a change; returns at once, from any thread."""
        if isinstance(change, WorkerChange):
            return
        if change.size is not None:
            self._sizes[change.name] = change.size
        try:
            self._changes.put_nowait(change)
        except queue.Full:
            _log.warning("events: a change of %s is left out, the disk takes none", change.name)

    def _run(self) -> None:
        while (change := self._changes.get()) is not None:
            if self._told.get(change.camera) == (change.name, change.state):
                continue
            try:
                self._write(change)
            except (OSError, sqlite3.Error) as error:
                _log.warning("events: a change of %s could not be written: %s", change.name, error)
                continue
            self._told[change.camera] = (change.name, change.state)

    def _write(self, change: CameraChange) -> None:
        details = {
            "camera": change.camera,
            "state": change.state,
            "reason": change.reason,
            "retry_in": change.retry_in,
        }
        new = New(kind="camera", source=change.name, time=change.at, payload={"details": details})
        with self._store.write() as connection:
            self._events.add(connection, new)
            if change.size is not None:
                connection.execute("INSERT OR REPLACE INTO picture_sizes VALUES (?, ?, ?)", (change.name, *change.size))
        self._events.announce()
