"""Live pictures for whoever looks: each is made once, and everybody gets the newest there is when they can take one.

Leases on the cameras are renewed while somebody looks. Everything but `show` and `changed` belongs to the server's event loop.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import msgspec
from msgspec import Struct

from vultus.pipeline.messages import Marks, Preview
from vultus.server.cameras.changes import CameraChange, WorkerChange

HEADER = struct.Struct(">BBHHHIId")
"""Version 1, flags (1: veiled), width, height, 0, camera, number, time; the JPEG follows."""
_LEASE, _RENEW = 5.0, 1.5
_BEHIND = 0.5
"""Seconds that a page may be behind before it gets no more pictures until it said what it has."""
_GIVEN_UP = 3.0
"""Seconds after which pictures that a page said nothing of count as lost."""
_UNSAID = 256


class Picture(Struct, frozen=True):
    """A picture as it goes over the socket, the same for everybody."""

    number: int
    message: bytes

    @property
    def jpeg(self) -> bytes:
        """Without the header."""
        return self.message[HEADER.size :]


class _MarksTold(Struct, frozen=True, tag_field="type", tag="marks"):
    camera: int
    time: float
    width: int
    height: int
    marks: tuple[object, ...]


class _StateTold(Struct, frozen=True, tag_field="type", tag="state"):
    camera: int
    state: str
    reason: str


class Look(Protocol):
    """Renews the lease on a camera; may block for a moment."""

    def __call__(self, camera: int, seconds: float, *, awake: bool) -> None:
        """See `Watching.look`."""


class Viewer:
    """One page, or one stream of JPEGs: the newest of what it has not been sent."""

    def __init__(self) -> None:
        self.cameras: frozenset[int] = frozenset()
        self.large: int | None = None
        self._pictures: dict[int, Picture] = {}
        self._texts: dict[tuple[str, int], bytes] = {}
        self._sent: deque[tuple[int, float]] = deque(maxlen=_UNSAID)
        self._answers = self._ended = False
        self._news, self._turned = asyncio.Event(), asyncio.Event()

    def offer(self, camera: int, picture: Picture) -> None:
        """A picture; one that was not taken yet gives way to it."""
        if camera in self.cameras:
            self._pictures[camera] = picture
            self._news.set()

    def tell(self, kind: str, camera: int, text: bytes) -> None:
        """Marks or a state; of each the newest."""
        if camera in self.cameras:
            self._texts[kind, camera] = text
            self._news.set()

    def got(self, number: int) -> None:
        """The page has everything up to this picture."""
        self._answers = True
        while self._sent and self._sent[0][0] <= number:
            self._sent.popleft()
        self._news.set()

    def look_at(self, cameras: frozenset[int], large: int | None) -> None:
        """From now on these."""
        self.cameras, self.large = cameras, large
        self._pictures = {camera: one for camera, one in self._pictures.items() if camera in cameras}
        self._texts = {key: text for key, text in self._texts.items() if key[1] in cameras}
        self._turned.set()

    async def turned(self, patience: float) -> None:
        """Wait until it looks at something else, or for so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._turned.wait(), patience)
        self._turned.clear()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.set()

    async def next(self) -> bytes | Picture | None:
        """What to send next: a text as bytes, or a picture (cameras take turns); none at the end."""
        while not self._ended:
            if self._texts:
                return self._texts.pop(next(iter(self._texts)))
            pause = self._pause()
            if self._pictures and pause is None:
                picture = self._pictures.pop(next(iter(self._pictures)))
                self._sent.append((picture.number, time.monotonic()))
                return picture
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), pause if self._pictures else None)
            except TimeoutError:
                continue
        return None

    def _pause(self) -> float | None:
        """Seconds to wait for the page at most; none if it has kept up, or never says what it has."""
        if not self._answers or not self._sent:
            return None
        waited = time.monotonic() - self._sent[0][1]
        if waited > _GIVEN_UP:
            self._sent.clear()
            return None
        return None if waited < _BEHIND else _GIVEN_UP - waited + 0.01


class Live:
    """Everybody who looks."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._number = 0
        self._leased: dict[int, tuple[float, bool]] = {}
        """When a camera's lease was renewed last, and whether as one that is looked at large."""

    def __len__(self) -> int:
        return len(self._viewers)

    def show(self, camera: int, shown: Preview | Marks) -> None:
        """What a camera shows; for one thread."""
        if not self._viewers:
            return
        if isinstance(shown, Marks):
            told = _MarksTold(camera, shown.time, shown.width, shown.height, shown.marks)
            self._call(Viewer.tell, "marks", camera, msgspec.json.encode(told))
            return
        self._number = (self._number + 1) % (1 << 32)
        head = HEADER.pack(1, shown.veiled, shown.width, shown.height, 0, camera, self._number, shown.time)
        self._call(Viewer.offer, camera, Picture(self._number, head + shown.jpeg))

    def changed(self, change: CameraChange | WorkerChange) -> None:
        """A camera came or went; for any thread."""
        if isinstance(change, CameraChange) and self._viewers:
            self._call(Viewer.tell, "state", change.camera, state_told(change.camera, change.state, change.reason))

    def hang_up(self) -> None:
        """Let everybody go, because the server ends."""
        for viewer in self._viewers:
            viewer.end()

    @contextmanager
    def looking(self) -> Iterator[Viewer]:
        """One who looks, while inside."""
        self._loop = asyncio.get_running_loop()
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    async def keep(self, viewer: Viewer, look: Look) -> None:
        """Renew the leases on what the viewer looks at, for ever; one lease serves everybody."""
        while True:
            now = time.monotonic()
            due = [(camera, self._large(camera)) for camera in viewer.cameras]
            due = [(camera, awake) for camera, awake in due if self._due(camera, now, awake=awake)]
            for camera, awake in due:
                self._leased[camera] = (now, awake)
                await asyncio.to_thread(look, camera, _LEASE, awake=awake)
            await viewer.turned(_RENEW)

    def _large(self, camera: int) -> bool:
        return any(viewer.large == camera for viewer in self._viewers)

    def _due(self, camera: int, now: float, *, awake: bool) -> bool:
        renewed, was_awake = self._leased.get(camera, (-_LEASE, False))
        return now - renewed > 0.9 * _RENEW or (awake and not was_awake)

    def _call(self, what: Callable[..., None], *given: object) -> None:
        """Let every viewer have it, in their loop."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        with suppress(RuntimeError):  # the loop was closed just now: nobody looks any more
            loop.call_soon_threadsafe(self._all, what, given)

    def _all(self, what: Callable[..., None], given: tuple[object, ...]) -> None:
        for viewer in self._viewers:
            what(viewer, *given)


def state_told(camera: int, state: str, reason: str) -> bytes:
    """A camera's state, as it goes over the socket."""
    return msgspec.json.encode(_StateTold(camera, state, reason))
