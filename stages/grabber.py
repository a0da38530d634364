"""One connection to a live source: a thread that reads, and the newest frame it has."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeAlias

from vultus.pipeline.frames import Image

Shot: TypeAlias = Callable[[], Image]
"""A decoded frame that becomes a picture, upright, when called; most frames are never called for."""
Reader: TypeAlias = Callable[
    [Callable[[], None], Callable[[], None], Callable[[str], None]], Iterator[tuple[float, Shot, bool]]
]
"""Opens a source and yields its frames, each with the time it arrived, in seconds since the epoch, and whether it is to be
handed on; is given what to call for each sign of life, for each damaged frame, and with who decodes."""
_BACKLOG = 16
"""Frames of a camera that just woke up, which are handed on though there are newer ones."""
_LATE = 0.15
"""Seconds after its arrival from which on a frame counts as one of those."""


def _unseen(_when: float, _shot: Shot) -> None:
    """Where nobody looks."""


class SourceLost(ConnectionError):
    """A live source cannot be opened, or broke; the text says why, without passwords."""

    def __init__(self, reason: str, *, slow: bool = False, absent: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent
        """Whether nobody took the connection: then it costs nothing to knock more often than to try."""
        self.slow = slow
        """Whether trying again soon is useless or harmful, as with a wrong password that locks an account."""


class SourceEnded(SourceLost):
    """A live source came to an end that it was meant to have, or (`refused`) cannot be used at all; the text says why."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class Grabber(threading.Thread):
    """Reads a source as fast as it comes, because decoding needs every frame, and keeps the newest for whoever asks.

    A read that never returns cannot be stopped from outside. So nobody waits for this thread: after `abandon` it ends,
    and closes its connection, whenever the read does return.
    """

    def __init__(
        self, name: str, reader: Reader, ready: threading.Condition, see: Callable[[float, Shot], None] = _unseen
    ) -> None:
        """`ready` is notified when there is a frame or the end; the public attributes are guarded by it.

        `see` is called in this thread with every frame and the time it arrived, also with those that are not handed on.
        """
        super().__init__(name=name, daemon=True)
        self._reader, self._see = reader, see
        self._ready = ready
        self.started = time.monotonic()
        self.sign = self.started
        """When something last arrived, on the monotonic clock."""
        self.frame_at = self.started
        """When a frame was last decoded."""
        self.frames = 0
        self.skipped = 0
        """Frames that a newer one replaced before anybody took them."""
        self.broken = 0
        self.useless: float | None = None
        """Since when packets come of which none can be decoded."""
        self._was_broken = False
        self.arrived = 0
        """Signs of life, of which each is a frame on its way."""
        self.waiting: deque[tuple[float, Shot]] = deque(maxlen=_BACKLOG)
        """When they arrived, in seconds since the epoch, and the frames: those of a backlog, then the newest."""
        self._newest_waits = False
        self.decoder = ""
        """Who decodes, in words; empty until it is open."""
        self.error: Exception | None = None
        """Why it ended; set before the thread ends."""
        self.abandoned = False

    def abandon(self) -> None:
        """Nobody is interested any more."""
        with self._ready:
            self.abandoned = True
            self.waiting.clear()

    def run(self) -> None:
        """Read until the source breaks or nobody wants it any more."""
        error: Exception = SourceLost("the other side ended the stream")
        try:
            for when, shot, wanted in self._reader(self._alive, self._count_broken, self._decodes):
                if wanted and not self._keep(when, shot):
                    break
                self._see(when, shot)
        except Exception as reason:  # noqa: BLE001 - whoever owns the camera gets it and decides
            error = reason.with_traceback(None)  # which would keep all of the connection alive
        with self._ready:
            self.error = error
            self._ready.notify_all()
        # A connection's objects refer to each other, and what hangs on them, decoders and frames, is megabytes that Python
        # knows nothing of: left to itself it would collect them after hundreds of connections.
        gc.collect()

    def take(self) -> tuple[float, Shot] | None:
        """The next frame, if there is one; `ready` is held."""
        return self.waiting.popleft() if self.waiting else None

    def _keep(self, when: float, shot: Shot) -> bool:
        with self._ready:
            if self.abandoned:
                return False
            fresh = time.time() - when < _LATE
            if fresh and self._newest_waits and self.waiting:
                self.waiting.pop()
                self.skipped += 1
            self._newest_waits = fresh
            self.waiting.append((when, shot))
            self.frames += 1
            self.frame_at = self.sign = time.monotonic()
            self._ready.notify_all()
        return True

    def _alive(self) -> None:
        with self._ready:
            self.sign = time.monotonic()
            self.arrived += 1
            if not self._was_broken:
                self.useless = None
            self._was_broken = False
            if self.abandoned:
                raise SourceLost("abandoned")

    def _decodes(self, decoder: str) -> None:
        with self._ready:
            self.decoder = decoder

    def _count_broken(self) -> None:
        with self._ready:
            self.broken += 1
            self._was_broken = True
            if self.useless is None:
                self.useless = time.monotonic()
