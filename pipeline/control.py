"""What the machinery says to itself: between neighbouring processes, and between a process and its supervisor.

No stage sees these. They travel as `codec.PlainCodec` writes them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from vultus.pipeline.messages import MAX_SHOWN, Boxes, Count, Names, Preview, SourceState, WorkerState
from vultus.pipeline.metrics import Counters, Doing


class Hello(Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """Receiver → sender, once: who asks, and how many messages it takes before it has finished one."""

    worker: Count
    credit: Annotated[int, Meta(ge=1, le=65_536)]


class Ready(Struct, frozen=True, kw_only=True, tag_field="type", tag="ready"):
    """Receiver → sender: so many more messages, the oldest first, are worked off; these frames are not needed any more."""

    done: Count = 0
    leases: tuple[int, ...] = ()


class Bound(Struct, frozen=True, kw_only=True, tag_field="type", tag="bound"):
    """Worker → supervisor: the outlet listens; the stages are not open yet."""


class Opened(Struct, frozen=True, kw_only=True, tag_field="type", tag="opened"):
    """Worker → supervisor: the stages are open, work may come."""


class Failed(Struct, frozen=True, kw_only=True, tag_field="type", tag="failed"):
    """Worker → supervisor, its last words: a stage could not be opened, or raised while it worked."""

    reason: str
    opening: bool


class Beat(Struct, frozen=True, kw_only=True, tag_field="type", tag="beat"):
    """Worker → supervisor, every `heartbeat` seconds."""

    doing: Doing
    silent: float
    """Seconds since the working thread's last sign of life."""
    counters: Counters


class Report(Struct, frozen=True, kw_only=True, tag_field="type", tag="report"):
    """Worker → supervisor: a camera, or a worker of another host, came or went; it overtakes all queues."""

    state: SourceState | WorkerState


class Lost(Struct, frozen=True, kw_only=True, tag_field="type", tag="lost"):
    """Worker → supervisor, in answer to `Gone`: items of which the dead process had unfinished messages."""

    peer: str
    items: tuple[Count, ...]


class Drained(Struct, frozen=True, kw_only=True, tag_field="type", tag="drained"):
    """Worker → supervisor, its last words: everything it had is with the next group."""

    counters: Counters


class Upstreams(Struct, frozen=True, kw_only=True, tag_field="type", tag="upstreams"):
    """Supervisor → worker: the processes to ask for messages, all of them, by name → address."""

    addresses: dict[str, str]


class Gone(Struct, frozen=True, kw_only=True, tag_field="type", tag="gone"):
    """Supervisor → worker: this receiver died; what it held is free."""

    peer: str


class Cancel(Struct, frozen=True, kw_only=True, tag_field="type", tag="cancel"):
    """Supervisor → worker: messages of attempts before this one of the item are of no use any more."""

    item: Count
    attempt: Count


class Drain(Struct, frozen=True, kw_only=True, tag_field="type", tag="drain"):
    """Supervisor → worker: nothing more will come; finish and end."""


class Seen(Struct, frozen=True, kw_only=True, tag_field="type", tag="seen"):
    """Worker → supervisor → the worker that decodes it: the camera of this item shows faces."""

    item: Count


class Shown(Struct, frozen=True, kw_only=True, tag_field="type", tag="shown"):
    """Worker → supervisor: something for whoever looks at a camera; it overtakes all queues."""

    what: Preview | Boxes | Names


class Look(Struct, frozen=True, kw_only=True, tag_field="type", tag="look"):
    """Supervisor → worker: somebody looks at this camera for so long, or asks for one full picture within that time."""

    item: Count
    seconds: Annotated[float, Meta(gt=0.0, le=60.0)]
    full: bool = False
    awake: bool = False
    """Whether it is to be decoded in full though nothing moves."""
    veiled: bool = False


class Clear(Struct, frozen=True, kw_only=True, tag_field="type", tag="clear"):
    """Supervisor → worker: of this camera only these tracks' faces may be seen in veiled pictures."""

    item: Count
    tracks: Annotated[tuple[Count, ...], Meta(max_length=MAX_SHOWN)]


HopMessage = Hello | Ready
ToSupervisor = Bound | Opened | Failed | Beat | Report | Lost | Drained | Seen | Shown
ToWorker = Upstreams | Gone | Cancel | Drain | Seen | Look | Clear
