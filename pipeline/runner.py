"""The one loop of every stage process: take a batch, run the chain, hand on what it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from threading import Event

from vultus.pipeline.chain import Chain
from vultus.pipeline.codec import check_arrays
from vultus.pipeline.errors import PipelineError
from vultus.pipeline.frames import FrameReader
from vultus.pipeline.hop import Delivery
from vultus.pipeline.intake import Cancelled, Intake, push
from vultus.pipeline.messages import Detections, ItemEnd, Message
from vultus.pipeline.metrics import Meter
from vultus.pipeline.queues import FairQueue, Inbox, droppable


class Obsolete(PipelineError):
    """The item that is being worked on was handed out again meanwhile: end it here."""


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
        self._intake = Intake(reader, meter, cancelled, max_age)

    def admit(self, message: Message) -> bool:
        """For the chain: whether a message between two stages is still wanted; raises Obsolete to end a whole item."""
        self._meter.beat()
        if isinstance(message, Detections) and message.origin.live:
            self._intake.analysed(message)
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
        return [message for delivery in deliveries if (message := self._intake.opened(delivery)) is not None]

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
        batch = [message for delivery in deliveries if (message := self._intake.opened(delivery)) is not None]
        if not batch:
            return
        # An item that is refused without being opened enters as its own end, behind the stage that opens items.
        first = 1 if self._takes_items and isinstance(batch[0], ItemEnd) else 0
        try:
            for output in chain.process(batch, first=first):
                self._emit(output)
        except Obsolete:
            self._meter.drop("obsolete")

    def _emit(self, message: Message) -> None:
        self._meter.beat()
        check_arrays(message)
        if droppable(message):
            push(self._queue, self._meter, message)
            return
        if not self._queue.has_room(message):
            self._meter.turn("blocked")
            self._queue.wait(message)
            self._meter.turn("busy")
        else:
            self._queue.wait(message)
