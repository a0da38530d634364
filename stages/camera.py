"""Live sources: watched, noticed when they vanish or freeze, and tried again for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

from msgspec import structs

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as Limits
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.messages import Frame, Item, ItemEnd, Leave, Message, Noticed, Origin, SourceState
from vultus.pipeline.stage import Context
from vultus.stages import knocking, video, webcam
from vultus.stages.grabber import Grabber, Reader, Shot, SourceEnded, SourceLost
from vultus.stages.preview import Glimpses
from vultus.stages.waking import Attention
from vultus.stages.zones import covered

_NO_PICTURE = 30.0
"""A stream may send data without a whole picture (a camera with a key frame every 20 s) for so many seconds."""
_USELESS = 5.0
"""So long may nearly every packet be broken, as when a camera changes its codec in mid-stream."""
_KNOCK_EVERY, _KNOCK_WITHIN = 2.0, 1.5
_MOST_STUCK = 3
"""Threads of one camera that may hang in a read; each holds a connection, so no further one is opened beyond that."""
_LOOK = 0.1
"""Seconds between looks at the clock while nothing arrives."""


def watch(items: Sequence[Item], config: Config, context: Context) -> Iterator[Message]:
    """Frames of live sources, the newest of each in turn, and an `ItemEnd` when one is over.

    Goes on until `context.stopping`, or until all were told to leave or ended; what `context.arrivals` gives joins in.
    Counters: `frames`, `skipped` (replaced by a newer one), `still` (not handed on, since nothing moved), `idle` (packets
    that were not decoded), `broken`, `lost` (connections).
    """
    ready = threading.Condition()
    cameras = {item.item: _Camera(item, config, context, ready) for item in items}
    try:
        while cameras and not context.stopping.is_set():
            for message in context.arrivals():
                if isinstance(message, Item):
                    cameras[message.item] = _Camera(message, config, context, ready)
                elif isinstance(message, Noticed) and message.item in cameras:
                    cameras[message.item].notice()
                elif isinstance(message, Leave) and message.item in cameras:
                    yield cameras.pop(message.item).end("the configuration lists it no longer")
            got = False
            for camera in list(cameras.values()):
                try:
                    frame = camera.step()
                except SourceEnded as over:
                    yield cameras.pop(camera.item).end(str(over), refused=over.refused)
                    continue
                if frame is not None:
                    got = True
                    yield frame
            if not got:
                context.at_work(False)
                with ready:
                    if not any(camera.waiting() for camera in cameras.values()):
                        ready.wait(_LOOK)
                context.at_work(True)
        for camera in cameras.values():
            yield camera.end("watching was stopped")
    finally:
        for camera in cameras.values():
            camera.leave()


def reader(item: Item, limits: Limits, attention: Attention | None) -> Reader:
    """What reads a live item."""
    if item.kind == "webcam":
        return partial(webcam.listen, item.address)
    if item.kind == "paced":
        return partial(video.play, item.address, limits)
    transport = item.view.transport or limits.rtsp_transport
    limits = structs.replace(limits, rtsp_transport=transport)
    return partial(video.listen, item.address, limits, attention, networks=item.networks)


class _Camera:
    """One live item: its connection, or the pause until the next one."""

    def __init__(self, item: Item, config: Config, context: Context, ready: threading.Condition) -> None:
        self._item = item
        self._config = config.decode
        self._context = context
        self._ready = ready
        ignored = item.view.masks + item.view.zones
        self._attention = Attention(config.decode, ignored, self._looked_at) if config.decode.motion else None
        self._glimpses = Glimpses(item.item, item.view.zones, config.preview, context, self._attention)
        self._reader = reader(item, config.decode, self._attention)
        self._grabber: Grabber | None = None
        self._stuck: list[Grabber] = []
        self._next_try = time.monotonic()
        self._pause = self._config.retry_first
        self._told = self._jammed = False
        self._knocks: Literal["no", "door", "stream"] = "no"
        self._next_knock = 0.0
        self._called = False
        self._seq = 0
        self._counted = {"skipped": 0, "broken": 0}
        self._spared: dict[str, int] = {}

    @property
    def item(self) -> int:
        """Number of its item."""
        return self._item.item

    def waiting(self) -> bool:
        """Whether there is something to do at once; `ready` is held."""
        return self._grabber is not None and (bool(self._grabber.waiting) or self._grabber.error is not None)

    def step(self) -> Frame | None:
        """Look after the connection; the newest frame if there is one that was not taken yet."""
        now = time.monotonic()
        if self._grabber is None:
            if now >= self._next_try:
                self._connect()
            elif self._knocks != "no" and now >= self._next_knock:
                self._next_knock = now + _KNOCK_EVERY
                threading.Thread(target=self._knock, name=f"knock {self._item.item}", daemon=True).start()
            return None
        with self._ready:
            taken = self._grabber.take()
            trouble = self._trouble(self._grabber, now)
        self._count(self._grabber)
        if taken is None:
            if trouble is not None:
                self._lose(trouble)
            return None
        try:
            return self._frame(*taken)
        except RefusedInput as error:
            self._lose(SourceLost(str(error), slow=True))
            return None

    def notice(self) -> None:
        """It shows faces."""
        if self._attention is not None:
            self._attention.notice()

    def leave(self) -> None:
        """Give the connection up."""
        if self._grabber is not None:
            self._grabber.abandon()

    def end(self, reason: str, *, refused: bool = False) -> ItemEnd:
        """Give the connection up; what says that no more frames of this item follow."""
        self.leave()
        self._tell("ended", reason)
        return ItemEnd(origin=self._origin(time.time()), frames=self._seq, refused=reason if refused else None)

    def _looked_at(self) -> bool:
        """Whether somebody wants to see every frame."""
        lease = self._context.audience.of(self._item.item)
        return lease is not None and lease.awake

    def _connect(self) -> None:
        self._stuck = [grabber for grabber in self._stuck if grabber.error is None]
        if len(self._stuck) >= _MOST_STUCK:
            if self._jammed:
                # Threads cannot be ended, processes can: the supervisor gives these cameras to a new one.
                raise TimeoutError(f"{self._item.source}: {_MOST_STUCK} connections hang in reads that never return")
            self._jammed = True
            self._next_try = time.monotonic() + self._config.retry_max
            self._tell("lost", "earlier connections still hang", self._config.retry_max)
            return
        self._jammed = False
        self._told = False
        self._counted = dict.fromkeys(self._counted, 0)
        self._grabber = Grabber(
            f"camera {self._item.item}", self._reader, self._ready, self._glimpses.see, self._context.at_work
        )
        self._grabber.start()

    def _trouble(self, grabber: Grabber, now: float) -> Exception | None:
        """Why this connection is over, if it is; `ready` is held."""
        if grabber.error is not None:
            return grabber.error
        opening = grabber.sign == grabber.started
        limit = self._config.open_timeout if opening else self._config.stall_timeout
        if now - grabber.sign > limit:
            if opening:
                return SourceLost(f"no answer within {limit:g} s", knock="door")
            return SourceLost(f"sent nothing usable for {limit:g} s")
        if grabber.useless_for(now) > _USELESS:
            return SourceLost(f"sends data, hardly any of which can be decoded, for {_USELESS:g} s")
        if now - grabber.frame_at > _NO_PICTURE:
            return SourceLost(f"sends data, but no picture that can be decoded for {_NO_PICTURE:g} s")
        return None

    def _knock(self) -> None:
        """In a thread: see whether it is worth while not to wait for the end of the pause."""
        item = self._item
        if knocking.answers(item.address, _KNOCK_WITHIN, item.networks, stream=self._knocks == "stream"):
            self._called = True
            self._next_try = time.monotonic()

    def _lose(self, error: Exception) -> None:
        if isinstance(error, SourceEnded) or not isinstance(error, SourceLost | RefusedInput):
            raise error  # the end of a file, or a mistake of ours in the reading thread
        assert self._grabber is not None
        self._grabber.abandon()
        self._stuck.append(self._grabber)
        slow = isinstance(error, RefusedInput) or (isinstance(error, SourceLost) and error.slow)
        pause = self._config.retry_max if slow else self._pause
        self._pause = min(self._pause * 2, self._config.retry_max)
        self._next_try = time.monotonic() + pause
        self._next_knock = max(time.monotonic(), self._grabber.started + _KNOCK_EVERY)
        # Who called us in vain is not listened to in this pause: a camera may want a password for paths that it does not have.
        self._knocks = error.knock if isinstance(error, SourceLost) and not self._called else "no"
        self._called = False
        self._grabber = None
        self._context.count("lost", 1)
        self._tell("lost", str(error), pause)

    def _frame(self, when: float, shot: Shot) -> Frame:
        image = covered(shot(), self._item.view.zones)
        if not self._told:
            self._told = True
            self._pause = self._config.retry_first
            assert self._grabber is not None
            size = (image.width, image.height)
            self._tell("connected", f"{image.width}×{image.height}", decoder=self._grabber.decoder, size=size)
        self._context.count("frames", 1)
        frame = Frame(origin=self._origin(when), image=image)
        self._seq += 1
        return frame

    def _origin(self, when: float) -> Origin:
        item = self._item
        return Origin(item=item.item, attempt=item.attempt, source=item.source, seq=self._seq, live=True, time=when)

    def _count(self, grabber: Grabber) -> None:
        for name, value in (("skipped", grabber.skipped), ("broken", grabber.damaged)):
            self._count_to(self._counted, name, value)
        if grabber.arrived > self._counted.get("arrived", 0):
            self._context.arrived(self._item.item, grabber.arrived - self._counted.get("arrived", 0))
            self._counted["arrived"] = grabber.arrived
        if self._attention is not None:
            for name, value in self._attention.counts.items():
                self._count_to(self._spared, name, value)

    def _count_to(self, counted: dict[str, int], name: str, value: int) -> None:
        if value > counted.get(name, 0):
            self._context.count(name, value - counted.get(name, 0))
            counted[name] = value

    def _tell(
        self,
        state: Literal["connected", "lost", "ended"],
        reason: str,
        retry_in: float | None = None,
        *,
        decoder: str = "",
        size: tuple[int, int] | None = None,
    ) -> None:
        told = SourceState(
            item=self._item.item,
            source=self._item.source,
            state=state,
            reason=reason,
            retry_in=retry_in,
            decoder=decoder,
            size=size,
        )
        self._context.report(told)
