"""From deliveries to messages that are worth working on, and from answers to the queue: what every process does alike."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

from vultus.pipeline.codec import Codec
from vultus.pipeline.errors import CodecError
from vultus.pipeline.frames import FrameReader
from vultus.pipeline.hop import Delivery, opener
from vultus.pipeline.messages import Detections, Frame, Item, Message
from vultus.pipeline.metrics import Meter
from vultus.pipeline.queues import FairQueue, attempt_of, droppable, item_of

_FORGET = 0.1
_REMEMBERED = 4096
"""Cancelled items that a process remembers; far more than are ever on their way at once."""
_log = logging.getLogger(__name__)


class Cancelled:
    """Items of which older attempts are of no use any more. Written by one thread, read by another."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[int, int] = OrderedDict()

    def note(self, item: int, attempt: int) -> None:
        """Attempts before this one are of no use."""
        self._attempts[item] = attempt
        if len(self._attempts) > _REMEMBERED:
            self._attempts.popitem(last=False)

    def useless(self, message: Message) -> bool:
        """Whether this message belongs to such an attempt."""
        if not self._attempts:
            return False
        attempt = message.attempt if isinstance(message, Item) else attempt_of(message)
        return attempt is not None and attempt < self._attempts.get(item_of(message), 0)


class Intake:
    """Opens deliveries. Belongs to one thread."""

    def __init__(self, reader: FrameReader, meter: Meter, cancelled: Cancelled, max_age: float | None) -> None:
        """Frames of cameras older than `max_age` seconds are not worked on."""
        self._reader, self._meter, self._cancelled, self._max_age = reader, meter, cancelled, max_age
        self._codec = Codec()

    def opened(self, delivery: Delivery) -> Message | None:
        """The message of a delivery, its picture locked; none if it cannot be used, which is counted."""
        try:
            message = self._codec.decode(delivery.parts, opener(self._reader, delivery.sender))
        except CodecError as error:
            _log.warning("from %s: %s", delivery.sender, error)
            self._meter.drop("malformed")
            return None
        if self._cancelled.useless(message):
            self._meter.drop("obsolete")
            return None
        image = getattr(message, "image", None)
        if image is not None and not image.valid():
            self._meter.drop("stale")
            return None
        return message if self.fresh(message) else None

    def fresh(self, message: Message) -> bool:
        """Whether a camera's frame is still worth being analysed; what was found on one is, however old."""
        if not droppable(message):
            return True
        if self.late(message):
            return False
        self._meter.age(time.time() - message.origin.time)  # type: ignore[attr-defined]
        return True

    def late(self, message: Message) -> bool:
        """Whether it is a camera's frame that is too old to be analysed, which is counted."""
        if not isinstance(message, Frame) or not message.origin.live or self._max_age is None:
            return False
        if time.time() - message.origin.time <= self._max_age:
            return False
        self._meter.drop("late")
        self._meter.source(message.origin.item).dropped += 1
        return True

    def analysed(self, message: Detections) -> None:
        """Count a frame of a camera that was searched for faces."""
        origin, counts = message.origin, self._meter.source(message.origin.item)
        age = max(0.0, time.time() - origin.time)
        counts.latency = age if not counts.latency else counts.latency + _FORGET * (age - counts.latency)
        counts.analysed += 1
        if message.faces:
            counts.faces += len(message.faces)
            counts.last_face = origin.time


def push(queue: FairQueue, meter: Meter, message: Message) -> None:
    """Put what may be dropped into the queue, and count what it pushes out."""
    over = queue.push(message)
    if over:
        meter.drop("overload", over)
        meter.source(item_of(message)).dropped += over
