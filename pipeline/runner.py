"""The one loop of every stage process: take a batch, run the chain, hand on what it gives."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Event

from vultus.pipeline.chain import Chain
from vultus.pipeline.codec import Codec, check_arrays
from vultus.pipeline.errors import CodecError, PipelineError
from vultus.pipeline.frames import FrameReader
from vultus.pipeline.hop import Delivery, opener
from vultus.pipeline.messages import Detections, Frame, Item, ItemEnd, Message
from vultus.pipeline.metrics import Meter
from vultus.pipeline.queues import FairQueue, Inbox, attempt_of, droppable, item_of

_FORGET = 0.1
_REMEMBERED = 4096
"""Cancelled items that a process remembers; far more than are ever on their way at once."""


_log = logging.getLogger(__name__)


class Obsolete(PipelineError):
    """The item that is being worked on was handed out again meanwhile: end it here."""


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


class WatchedEvent(Event):
    """The stages' `stopping`: who looks at it is alive, and who waits on it is idle, not hanging."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter, self._owner = meter, threading.get_ident()

    def is_set(self) -> bool:
        """As `Event`."""
        self._meter.beat()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """As `Event`."""
        if threading.get_ident() != self._owner:  # a stage's own helper thread says nothing about the stage
            return super().wait(timeout)
        before = self._meter.turn("idle")
        try:
            return super().wait(timeout)
        finally:
            self._meter.turn(before)


class Runner:
    """Runs a chain on what arrives until the inbox is closed and empty."""

    def __init__(
        self,
        *,
        inbox: Inbox[Delivery],
        queue: FairQueue,
        reader: FrameReader,
        meter: Meter,
        cancelled: Cancelled,
        finished: Callable[[Sequence[Delivery]], None],
        takes_items: bool,
        max_batch: int,
        max_wait: float,
        max_age: float | None,
    ) -> None:
        """`finished` is told about deliveries that were worked off. Frames of cameras older than `max_age` seconds are not.

        `takes_items`: this is the first group. It gets one item at a time, so that a death names its culprit.
        """
        self._inbox, self._queue, self._reader, self._meter = inbox, queue, reader, meter
        self._cancelled, self._finished, self._takes_items = cancelled, finished, takes_items
        self._max_batch, self._max_wait = (1, 0.0) if takes_items else (max_batch, max_wait)
        self._max_age = max_age
        self._codec = Codec()

    def admit(self, message: Message) -> bool:
        """For the chain: whether a message between two stages is still wanted; raises Obsolete to end a whole item."""
        self._meter.beat()
        if isinstance(message, Detections) and message.origin.live:
            self._analysed(message)
        if not self._cancelled.useless(message):
            return True
        if self._takes_items:
            raise Obsolete
        self._meter.drop("obsolete")
        return False

    def arrivals(self) -> list[Message]:
        """For a stage that watches cameras: what came meanwhile. Working on it ends with the batch it joins."""
        deliveries = self._inbox.take_now()
        if deliveries:
            self._meter.batch(len(deliveries))
            self._finished(deliveries)
        return [message for delivery in deliveries if (message := self._opened(delivery)) is not None]

    def run(self, chain: Chain) -> None:
        """Until the inbox is closed and empty; whatever a stage raises comes out."""
        self._meter.turn("idle")
        while deliveries := self._inbox.take(self._max_batch, self._max_wait):
            self._meter.turn("busy")
            self._meter.batch(len(deliveries))
            self._work(chain, deliveries)
            # Here no picture of the batch is referenced any more, so its slots go back with the credit.
            self._reader.collect()
            self._finished(deliveries)
            self._meter.turn("idle")
        # Closing the stages is work too, and who hangs in it is to be noticed.
        self._meter.turn("busy")

    def _work(self, chain: Chain, deliveries: Sequence[Delivery]) -> None:
        batch = [message for delivery in deliveries if (message := self._opened(delivery)) is not None]
        if not batch:
            return
        # An item that is refused without being opened enters as its own end, behind the stage that opens items.
        first = 1 if self._takes_items and isinstance(batch[0], ItemEnd) else 0
        try:
            for output in chain.process(batch, first=first):
                self._emit(output)
        except Obsolete:
            self._meter.drop("obsolete")

    def _opened(self, delivery: Delivery) -> Message | None:
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
        return message if self._fresh(message) else None

    def _fresh(self, message: Message) -> bool:
        """Whether a camera's frame is still worth being analysed; what was found on one is, however old."""
        if not droppable(message):
            return True
        age = time.time() - message.origin.time  # type: ignore[attr-defined]
        if isinstance(message, Frame) and self._max_age is not None and age > self._max_age:
            self._meter.drop("late")
            self._meter.source(message.origin.item).dropped += 1
            return False
        self._meter.age(age)
        return True

    def _analysed(self, message: Detections) -> None:
        origin, counts = message.origin, self._meter.source(message.origin.item)
        age = max(0.0, time.time() - origin.time)
        counts.latency = age if not counts.latency else counts.latency + _FORGET * (age - counts.latency)
        counts.analysed += 1
        if message.faces:
            counts.faces += len(message.faces)
            counts.last_face = origin.time

    def _emit(self, message: Message) -> None:
        self._meter.beat()
        check_arrays(message)
        if droppable(message):
            over = self._queue.push(message)
            if over:
                self._meter.drop("overload", over)
                self._meter.source(item_of(message)).dropped += over
            return
        if not self._queue.has_room(message):
            self._meter.turn("blocked")
            self._queue.wait(message)
            self._meter.turn("busy")
        else:
            self._queue.wait(message)
