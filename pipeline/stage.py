"""What a stage author writes: a class with `open`, `process` and `close`, and no socket in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Any, ClassVar, Protocol

import msgspec
from msgspec import Struct

from vultus.pipeline.audience import Audience
from vultus.pipeline.messages import Boxes, Message, Names, Preview, SourceState


def _nobody(_item: int) -> None:
    """Where no other process decodes."""


def _nobody_counts(_item: int, _count: int) -> None:
    """Where nobody asks how a camera is."""


def _nobody_counts_time(_works: bool) -> None:
    """Where nobody asks how busy this process is."""


def _nobody_looks(_shown: Preview | Boxes | Names) -> None:
    """Where no page shows cameras."""


class Context(Struct, frozen=True, kw_only=True):
    """What a stage may know of its surroundings while it works."""

    stopping: Event
    """Set when the job ends; a stage that waits (for a camera, a retry) waits on this."""
    report: Callable[[SourceState], None]
    """Tells whoever runs the job about a camera, past all queues."""
    count: Callable[[str, int], None]
    """Adds to a counter of this stage by name, e.g. `count("too_small", 2)`."""
    arrivals: Callable[[], Sequence[Message]] = tuple
    """Messages that came for this process since a stage began its batch. Only a `decode` that watches cameras asks, since
    its batch lasts as long as they do: further cameras (`Item`), and those to leave (`Leave`)."""
    arrived: Callable[[int, int], None] = _nobody_counts
    """`arrived(item, count)`: so many more frames of a camera came, whatever becomes of them."""
    notice: Callable[[int], None] = _nobody
    """Tells whoever decodes the camera of this item that it shows faces, twice a second at most; `Noticed` arrives there."""
    at_work: Callable[[bool], None] = _nobody_counts_time
    """`at_work(works)`: the thread that calls it works from now on, or waits. Who calls `process` works; a stage that waits for
    something other than `stopping` says so before and after, and each further thread of a stage when it begins and ends to
    work. What they work at the same time is counted once."""
    audience: Audience = msgspec.field(default_factory=Audience)
    """Which cameras somebody looks at now."""
    show: Callable[[Preview | Boxes | Names], None] = _nobody_looks
    """Tells those about such a camera, past all queues; from any thread."""
    life: int = 0
    """How many processes did this work before, in this job. Cameras go on when one dies, so what its successor numbers
    must not meet the numbers that were given already."""


class Stage(Protocol):
    """One step of the way. Life: constructed (cheap, no files), `open`, any number of `process`, `close`.

    `process` gets messages in order of arrival, possibly of several sources, and returns or yields messages for the
    next stage; an `ItemEnd` is passed on after everything of its item. Trouble with one input becomes
    `ItemEnd.refused` or a counter, never an exception: one that leaves `process` ends the process, and the supervisor
    starts a new one.
    """

    name: ClassVar[str]

    def open(self, context: Context) -> None:
        """Take memory, open files, load models; called once in the process that will work."""
        ...

    def process(self, batch: Sequence[Any]) -> Iterable[Message]:
        """Do the work for a batch of at least one message."""
        ...

    def close(self) -> None:
        """Give everything back; called once, also after a failed `open`."""
        ...
