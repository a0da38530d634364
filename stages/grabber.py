"""One connection to a live source: a thread that reads, and the newest frame it has."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol, TypeAlias

from vultus.pipeline.frames import Image

Shot: TypeAlias = Callable[[], Image]
"""A decoded frame that becomes a picture, upright, when called; most frames are never called for."""
_BACKLOG = 16
"""Frames of a camera that just woke up, which are handed on though there are newer ones."""
_LATE = 0.15
"""Seconds after its arrival from which on a frame counts as one of those."""
_FORGIVES = 4
"""Damaged packets that one whole frame makes up for: of pure garbage, FFmpeg now and then takes one for a picture."""
_MOST_OWED, _LEAST_OWED = 90, 3
"""More damage than this is not remembered; less says nothing: a bad key frame of a camera before which nothing happens."""


class Ear(Protocol):
    """Who reads a source tells this how it goes."""

    def alive(self, frames: int = 1) -> None:
        """So many frames arrived; with none, only that the source is well. Raises SourceLost if nobody wants more."""
        ...

    def aside(self) -> None:
        """Something arrived that is no part of the picture, as sound. Raises the same."""
        ...

    def broken(self) -> None:
        """A packet or frame is damaged."""
        ...

    def decodes(self, decoder: str) -> None:
        """The source is open, and who decodes it, in words."""
        ...

    def awaiting(self) -> AbstractContextManager[None]:
        """Around each wait for the source: what is done inside is no work."""
        ...


Reader: TypeAlias = Callable[[Ear], Iterator[tuple[float, Shot, bool]]]
"""Opens a source and yields its frames, each with the time it arrived, in seconds since the epoch, and whether it is to be
handed on."""


def _unseen(_when: float, _shot: Shot) -> None:
    """Where nobody looks."""


def _unasked(_works: bool) -> None:
    """Where nobody asks how busy this process is."""


class SourceLost(ConnectionError):
    """A live source cannot be opened, or broke; the text says why, without passwords."""

    def __init__(self, reason: str, *, slow: bool = False, knock: Literal["no", "door", "stream"] = "no") -> None:
        super().__init__(reason)
        self.knock = knock
        """What tells during a pause that another try is worth while: that somebody answers, or that there is a stream."""
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
        self,
        name: str,
        reader: Reader,
        ready: threading.Condition,
        see: Callable[[float, Shot], None] = _unseen,
        at_work: Callable[[bool], None] = _unasked,
    ) -> None:
        """`ready` is notified when there is a frame or the end; the public attributes are guarded by it.

        `see` is called in this thread with every frame and the time it arrived, also with those that are not handed on,
        and `at_work` when this thread begins to work and when it waits.
        """
        super().__init__(name=name, daemon=True)
        self._reader, self._see = reader, see
        self._ready, self._at_work = ready, at_work
        self.started = time.monotonic()
        self.sign = self.started
        """When something last arrived, on the monotonic clock."""
        self.frame_at = self.started
        """When a frame was last decoded."""
        self.frames = 0
        self.skipped = 0
        """Frames that a newer one replaced before anybody took them."""
        self.damaged = 0
        """Packets and frames that could not be decoded."""
        self._owed = 0
        self._useless: float | None = None
        self.arrived = 0
        """Frames, or packets of which each is a frame on its way."""
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
        self._at_work(True)
        try:
            for when, shot, wanted in self._reader(self):
                self._forgive()
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
        self._at_work(False)

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

    def alive(self, frames: int = 1) -> None:
        """See `Ear`."""
        with self._ready:
            self.sign = time.monotonic()
            self.arrived += frames
        self.aside()

    def aside(self) -> None:
        """See `Ear`."""
        with self._ready:
            if self.abandoned:
                raise SourceLost("abandoned")

    def decodes(self, decoder: str) -> None:
        """See `Ear`."""
        with self._ready:
            self.decoder = decoder

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """See `Ear`."""
        self._at_work(False)
        try:
            yield
        finally:
            self._at_work(True)

    def broken(self) -> None:
        """See `Ear`."""
        with self._ready:
            self.damaged += 1
            self._owed = min(self._owed + 1, _MOST_OWED)
            if self._useless is None:
                self._useless = time.monotonic()

    def useless_for(self, now: float) -> float:
        """Seconds since when hardly anything of what comes can be decoded; `ready` is held."""
        return now - self._useless if self._useless is not None and self._owed >= _LEAST_OWED else 0.0

    def _forgive(self) -> None:
        with self._ready:
            self._owed = max(0, self._owed - _FORGIVES)
            if not self._owed:
                self._useless = None
