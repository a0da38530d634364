"""The queues at the two ends of a hop: where live frames are dropped, files wait, and cameras take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Condition
from time import monotonic
from typing import Any, Generic, TypeVar

from vultus.pipeline.messages import Chips, Detections, Embedded, Frame, Message, Tracked

MAX_QUEUE_BYTES = 256 << 20
"""Files wait already when their pictures take more than this, however few they are."""

T = TypeVar("T")


def item_of(message: Message) -> int:
    """The number of the item that a message is about."""
    about: Any = getattr(message, "origin", message)
    return int(about.item)


def attempt_of(message: Message) -> int | None:
    """The attempt that a message belongs to; none if it counts whatever the attempt."""
    origin = getattr(message, "origin", None)
    return None if origin is None else origin.attempt


def droppable(message: Message) -> bool:
    """Whether the live rule may drop it: pictures and faces of cameras, never an end, an answer or a sighting."""
    return isinstance(message, Frame | Detections | Tracked | Chips | Embedded) and message.origin.live


class FairQueue:
    """Messages on their way out, one lane for each item; one thread puts, another hands out.

    A droppable message that finds its lane full pushes out the oldest of its lane. Any other waits until fewer than
    `bound` of its kind are queued.
    """

    def __init__(self, bound: int, wake: Callable[[], None]) -> None:
        """`wake` is called when there is something new to hand out."""
        self._bound, self._wake = bound, wake
        self._lanes: OrderedDict[int, deque[Message]] = OrderedDict()
        self._lossless = self._lossless_bytes = 0
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._lanes.values()))

    def push(self, message: Message) -> int:
        """Take a message that may be dropped; how many older ones it pushed out."""
        with self._changed:
            lane = self._lanes.setdefault(item_of(message), deque())
            lane.append(message)
            places = [place for place, old in enumerate(lane) if droppable(old)]
            over = max(0, len(places) - self._bound)
            for place in reversed(places[:over]):
                del lane[place]
        self._wake()
        return over

    def wait(self, message: Message) -> bool:
        """Take a message that may not be dropped, as soon as there is room; false if the queue was closed instead."""
        size = _size(message)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._room(size))
            if self._closed:
                return False
            self._lanes.setdefault(item_of(message), deque()).append(message)
            self._lossless += 1
            self._lossless_bytes += size
        self._wake()
        return True

    def has_room(self, message: Message) -> bool:
        """Whether `wait` would not wait."""
        with self._changed:
            return self._room(_size(message))

    def hand_out(self, deliver: Callable[[Message], bool]) -> None:
        """Offer each lane's first message in turn, until nobody takes any; a lane that was served goes to the end."""
        refused: set[int] = set()
        while (taken := self._next(refused)) is not None:
            item, message = taken
            # Unlocked, because it may copy a picture into shared memory.
            if deliver(message):
                self._settle(item, message)
            else:
                refused.add(item)
                self._put_back(item, message)

    def discard(self, useless: Callable[[Message], bool]) -> int:
        """Throw away messages; how many there were."""
        with self._changed:
            count = 0
            for item, lane in list(self._lanes.items()):
                kept = deque(message for message in lane if not useless(message))
                gone = [message for message in lane if useless(message)]
                count += len(gone)
                for message in gone:
                    self._forget(message)
                if kept:
                    self._lanes[item] = kept
                else:
                    del self._lanes[item]
            self._changed.notify_all()
            return count

    def close(self) -> None:
        """Let a waiting `wait` go, and take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _room(self, size: int) -> bool:
        return not self._lossless or (self._lossless < self._bound and self._lossless_bytes + size <= MAX_QUEUE_BYTES)

    def _next(self, refused: set[int]) -> tuple[int, Message] | None:
        with self._changed:
            for item, lane in self._lanes.items():
                if item not in refused:
                    return item, lane.popleft()
        return None

    def _settle(self, item: int, message: Message) -> None:
        with self._changed:
            if self._lanes.get(item):
                self._lanes.move_to_end(item)
            else:
                self._lanes.pop(item, None)
            self._forget(message)
            self._changed.notify_all()

    def _put_back(self, item: int, message: Message) -> None:
        with self._changed:
            self._lanes.setdefault(item, deque()).appendleft(message)

    def _forget(self, message: Message) -> None:
        if not droppable(message):
            self._lossless -= 1
            self._lossless_bytes -= _size(message)


class Inbox(Generic[T]):
    """Deliveries that wait for the working thread. Bounded by the credit that its process has given."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, T]] = deque()
        """Each with when it came, on the monotonic clock."""
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, delivery: T) -> None:
        """Add one."""
        with self._changed:
            self._waiting.append((monotonic(), delivery))
            self._changed.notify_all()

    def take(self, most: int, wait: float) -> list[T]:
        """The oldest deliveries, at least one: all of `most`, or what there is `wait` seconds after the oldest came.

        Time for which it lay there while a batch before it was worked on counts. Empty once the inbox is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._waiting and wait > 0:
                end = self._waiting[0][0] + wait
                while len(self._waiting) < most and not self._closed and (left := end - monotonic()) > 0:
                    self._changed.wait(left)
            return [self._waiting.popleft()[1] for _ in range(min(most, len(self._waiting)))]

    def take_now(self) -> list[T]:
        """Whatever is there."""
        with self._changed:
            taken = [delivery for _, delivery in self._waiting]
            self._waiting.clear()
            return taken

    def close(self, *, discard: bool = False) -> None:
        """No more will come; `discard` throws away what has not been begun."""
        with self._changed:
            self._closed = True
            if discard:
                self._waiting.clear()
            self._changed.notify_all()


def _size(message: Message) -> int:
    image = getattr(message, "image", None)
    if image is not None:
        return int(image.nbytes)
    if isinstance(message, Chips | Embedded):
        return message.chips.nbytes
    return 0
