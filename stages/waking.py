"""Which packets of a camera are decoded and which of its frames are handed on: few while nothing happens.

| it | decoded | handed on |
|---|---|---|
| shows faces (`notice` was called within 3 s) | every packet | `busy_fps` |
| moves (within 2 s) | every packet | `moving_fps` |
| is still | every packet | one in `still_every` seconds |
| was still for `idle_after` seconds | key frames | the same |

While only key frames are decoded, the packets since the last one are kept. When a key frame shows movement, or packets
grow suddenly (an encoder spends its bits where something moves), they are decoded all at once and a choice of them is
handed on: whoever came in between two key frames is seen from the first step on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.configs.schema import Decode, Polygon
from vultus.stages.motion import Motion

_FACES_LAST, _MOTION_LASTS = 3.0, 2.0
_LOOKS = 5.0
"""Times a second that an awake camera's picture is compared with its background."""
_KEPT_BYTES, _KEPT_SECONDS = 16 << 20, 10.0
"""A camera whose key frames are further apart wakes up whenever they are: what is kept is bounded."""
_BACKLOG_STEP, _BACKLOG_AGE = 0.2, 2.0
"""Of the frames that are decoded late, one in so many seconds is handed on, and none older than this."""
_KEY_STEP = 0.9
"""Key frames that follow faster are not all decoded: at 1080p each takes 2 % of a core of a second. What comes in between
is kept, and surprises by its size if somebody comes in."""
_GROWN, _GROWN_LEAST = 2.0, 800
"""A packet that is so many times as large as any of late, and so many bytes larger, tells of movement."""
_LEARNED, _FORGET = 50, 0.999
"""Packets that are seen before one is judged; what the memory of the largest loses with each (half in 28 s)."""


class Coded(Protocol):
    """A packet."""

    @property
    def is_keyframe(self) -> bool:
        """Whether decoding can begin with it."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


class Decoded(Struct, frozen=True):
    """A frame, with a handle for whoever decoded it."""

    frame: Any
    luma: npt.NDArray[np.uint8]


class Decoder(Protocol):
    """What decodes."""

    def decode(self, packet: Coded) -> Sequence[Decoded]:
        """The frames that this packet completes."""
        ...

    def only(self, packet: Coded) -> Sequence[Decoded]:
        """The frame of this key packet alone, at once; nothing of it is remembered."""
        ...


def _nobody() -> bool:
    return False


class Attention:
    """For one camera, over all its connections: what was seen, and when."""

    def __init__(self, limits: Decode, ignored: Sequence[Polygon], looked_at: Callable[[], bool] = _nobody) -> None:
        """`looked_at`: whether somebody wants to see every frame, also while nothing moves."""
        self._limits, self._kept_awake = limits, looked_at
        self.counts = {"still": 0, "idle": 0}
        """Frames that were not handed on, packets that were not decoded."""
        self._motion = Motion(ignored)
        now = time.monotonic()
        self._faces_at = -np.inf
        self._moved_at, self._looked_at, self._given_at = now, -np.inf, -np.inf

    def notice(self) -> None:
        """It shows faces; from any thread."""
        self._faces_at = time.monotonic()

    @property
    def awake(self) -> bool:
        """Whether every packet is worth decoding."""
        lately = time.monotonic() - max(self._moved_at, self._faces_at) < self._limits.idle_after
        return lately or self._kept_awake()

    def look(self, luma: npt.NDArray[np.uint8]) -> bool:
        """Compare a picture with the background."""
        moved = self._motion.look(luma)
        if moved:
            self._moved_at = time.monotonic()
        return moved

    def suspect(self) -> None:
        """Something may move: look at every packet for a moment, and go on if it does."""
        self._moved_at = max(self._moved_at, time.monotonic() - self._limits.idle_after + _MOTION_LASTS)

    def hasten(self) -> None:
        """Hand the next frame on, whatever happens."""
        self._given_at = -np.inf

    def wanted(self, luma: npt.NDArray[np.uint8]) -> bool:
        """Whether this frame, the newest, is handed on."""
        now = time.monotonic()
        if now - self._looked_at >= 1 / _LOOKS:
            self._looked_at = now
            self.look(luma)
        limits = self._limits
        if now - self._faces_at < _FACES_LAST:
            pause = 1 / limits.busy_fps
        elif now - self._moved_at < _MOTION_LASTS:
            pause = 1 / limits.moving_fps
        else:
            pause = limits.still_every
        # Frames come at their own beat; a tenth early is better than a whole frame late.
        if now - self._given_at < 0.9 * pause:
            self.counts["still"] += 1
            return False
        self._given_at = now
        return True


class _Sizes:
    """How large packets between key frames are while nothing happens."""

    def __init__(self) -> None:
        self._largest = 0.0
        self._seen = 0

    def surprising(self, size: int) -> bool:
        """Whether this one is larger than all of late. Those just behind a key frame are larger anyhow, in every group."""
        self._seen += 1
        large = size > self._largest * _GROWN and size > self._largest + _GROWN_LEAST and self._seen > _LEARNED
        self._largest = max(float(size), self._largest * _FORGET)
        return large


def choose(packets: Iterable[Coded], decoder: Decoder, attention: Attention) -> Iterator[tuple[float, Decoded, bool]]:
    """The frames that are decoded, each with the time it arrived, seconds since the epoch, and whether to hand it on."""
    kept: list[tuple[float, Coded]] = []
    size = 0
    idle = False
    sizes = _Sizes()
    looked = 0.0
    for packet in packets:
        now = time.time()
        if not idle and packet.is_keyframe and not attention.awake:
            idle = True
        if not idle:
            for decoded in decoder.decode(packet):
                yield now, decoded, attention.wanted(decoded.luma)
            continue
        if packet.is_keyframe and now - looked >= _KEY_STEP:
            looked = now
            before, kept, size, moved = kept, [(now, packet)], packet.size, False
            for decoded in decoder.only(packet):
                moved = attention.look(decoded.luma)
                yield now, decoded, not moved and attention.wanted(decoded.luma)
            if moved:
                kept = before + kept
        else:
            kept.append((now, packet))
            size += packet.size
            moved = not packet.is_keyframe and sizes.surprising(packet.size)
            attention.counts["idle"] += 1
        if moved or attention.awake or size > _KEPT_BYTES or now - kept[0][0] > _KEPT_SECONDS:
            attention.suspect()
            idle = False
            yield from _late(kept, decoder, now)
            kept, size = [], 0


def _late(kept: Sequence[tuple[float, Coded]], decoder: Decoder, now: float) -> Iterator[tuple[float, Decoded, bool]]:
    last = -np.inf
    for when, packet in kept:
        for decoded in decoder.decode(packet):
            wanted = now - when <= _BACKLOG_AGE and (when - last >= _BACKLOG_STEP or when == now)
            last = when if wanted else last
            yield when, decoded, wanted
