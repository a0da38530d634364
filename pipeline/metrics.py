"""What a stage process counts, and how it is told."""

from __future__ import annotations

import mmap
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

Doing = Literal["opening", "idle", "busy", "blocked"]
"""`idle` waits for messages (or a camera), `blocked` for room at the next group."""

AGES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0)
"""Upper bounds, in seconds, of the classes that `Counters.ages` counts; the last class has none."""


class SourceCounters(Struct, kw_only=True):
    """What a process did for one camera."""

    arrived: int = 0
    """Frames that came from it."""
    analysed: int = 0
    """Frames that were searched for faces."""
    dropped: int = 0
    faces: int = 0
    last_face: float = 0.0
    """When the frame arrived that showed a face last, in seconds since the epoch."""
    latency: float = 0.0
    """Seconds from arrival to the end of detection, a mean that forgets."""

    def plus(self, other: SourceCounters) -> SourceCounters:
        """Of two processes."""
        return SourceCounters(
            arrived=self.arrived + other.arrived,
            analysed=self.analysed + other.analysed,
            dropped=self.dropped + other.dropped,
            faces=self.faces + other.faces,
            last_face=max(self.last_face, other.last_face),
            latency=other.latency or self.latency,
        )


class RemoteWorker(Struct, frozen=True, kw_only=True):
    """A worker on another host, as the main machine sees it."""

    host: str
    pid: int
    state: Literal["opening", "working"]
    since: float
    """When it came; seconds since the epoch."""
    finished: int
    """Messages that it answered."""
    busy_with: int
    """Messages that it has now."""


class Counters(Struct, frozen=True, kw_only=True):
    """What one process did since it started. Times are seconds."""

    received: int = 0
    sent: int = 0
    batches: int = 0
    largest_batch: int = 0
    busy: float = 0.0
    """While at least one of its threads worked on messages or frames: not while all waited for messages, for what a camera
    sends, for a frame's time to come, or for room at the next group. Waiting for a processor counts as work."""
    blocked: float = 0.0
    """Spent waiting for room at the next group."""
    uptime: float = 0.0
    cpu: float = 0.0
    """Processor time of all its threads."""
    resident: int = 0
    """Bytes of memory, with the shared frames it has touched, now."""
    waiting: int = 0
    """Messages received and not yet begun, now."""
    queued: int = 0
    """Messages produced and not yet handed on, now."""
    lent: int = 0
    """Frames that other processes hold, now."""
    dropped: dict[str, int] = {}
    """Messages dropped, by reason: `overload` (live rule), `late` (frames beyond `max_age`), `stale`, `obsolete`,
    `malformed`, `unexpected`."""
    counts: dict[str, int] = {}
    """What the stages count themselves."""
    ages: tuple[int, ...] = (0,) * (len(AGES) + 1)
    """Messages of cameras by the age of their frame when work on them began, in the classes of `AGES`."""

    sources: dict[int, SourceCounters] = {}
    """By the item of a camera."""
    remotes: tuple[RemoteWorker, ...] = ()
    """Workers on other hosts that are there now."""

    def plus(self, later: Counters) -> Counters:
        """Totals over a process and the one that took its place."""
        return Counters(
            received=self.received + later.received,
            sent=self.sent + later.sent,
            batches=self.batches + later.batches,
            largest_batch=max(self.largest_batch, later.largest_batch),
            busy=self.busy + later.busy,
            blocked=self.blocked + later.blocked,
            uptime=self.uptime + later.uptime,
            cpu=self.cpu + later.cpu,
            resident=later.resident,
            waiting=later.waiting,
            queued=later.queued,
            lent=later.lent,
            dropped=_sum(self.dropped, later.dropped),
            counts=_sum(self.counts, later.counts),
            sources=_sum_sources(self.sources, later.sources),
            remotes=later.remotes,
            ages=tuple(a + b for a, b in zip(self.ages, later.ages, strict=True)),
        )

    def at_rest(self) -> Counters:
        """The totals without what was only true at that moment, for a process that is gone."""
        return structs.replace(self, resident=0, waiting=0, queued=0, lent=0, remotes=())


class WorkerMetrics(Struct, frozen=True, kw_only=True):
    """One place in a group: the process that works there now and those before it."""

    group: str
    worker: int
    stages: tuple[str, ...]
    state: Literal["starting", "running", "waiting", "ended"]
    """`waiting` for its restart after a death; `ended` also if it has no cameras left, until a further one gets the place."""
    pid: int | None
    restarts: int
    counters: Counters
    busy_share: float = 0.0
    """`Counters.busy` as a part of the last five seconds, 0..1."""
    cores: float = 0.0
    """Processors that all its threads together used, on average of the last five seconds."""
    hosts: tuple[str, ...] = ()
    """Machines that do the work of this place, which itself only passes it on."""

    @property
    def well(self) -> bool:
        """Whether it runs, and if others do its work, somebody is there to do it."""
        if self.state == "ended":
            return True
        there = any(remote.state == "working" for remote in self.counters.remotes)
        return self.state == "running" and (there or not self.hosts)

    @property
    def mean_batch(self) -> float:
        """Messages in a batch, on average."""
        return self.counters.received / self.counters.batches if self.counters.batches else 0.0


class SpareMetrics(Struct, frozen=True, kw_only=True):
    """A process that waits to take the place of one that dies."""

    pid: int
    state: Literal["starting", "ready"]
    """`starting` while it loads libraries; it would be taken all the same."""
    resident: int
    """Bytes of memory now, with what it shares with others."""


class Meter:
    """Counts of the running process. One thread, which makes this, works and writes; another reads snapshots."""

    def __init__(self) -> None:
        self._start = self._since = self._busy_since = time.monotonic()
        self._owner = threading.get_ident()
        self._lock = threading.Lock()
        self._doing: Doing = "opening"
        self._at_work = 0
        self._busy = self._blocked = 0.0
        self._dropped: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._sources: dict[int, SourceCounters] = {}
        self._ages = [0] * (len(AGES) + 1)
        self._received = self._sent = self._batches = self._largest = 0
        self._alive = self._start

    def turn(self, doing: Doing) -> Doing:
        """The working thread does something else now; returns what it did before."""
        with self._lock:
            now, before = time.monotonic(), self._doing
            if before == "blocked":
                self._blocked += now - self._since
            self._change((doing == "busy") - (before == "busy"), now)
            self._doing, self._since, self._alive = doing, now, now
        return before

    def at_work(self, works: bool) -> None:
        """The thread that calls this works from now on, or waits: the working thread, or one that a stage has besides."""
        if threading.get_ident() == self._owner:
            self.turn("busy" if works else "idle")
            return
        with self._lock:
            self._change(1 if works else -1, time.monotonic())

    def beat(self) -> None:
        """The working thread is alive in the midst of something long."""
        self._alive = time.monotonic()

    def batch(self, size: int) -> None:
        """A batch was taken."""
        self._received += size
        self._batches += 1
        self._largest = max(self._largest, size)

    def sent(self) -> None:
        """A message was handed on."""
        self._sent += 1

    def drop(self, reason: str, count: int = 1) -> None:
        """Messages were dropped."""
        if count:
            self._dropped[reason] = self._dropped.get(reason, 0) + count

    def age(self, seconds: float) -> None:
        """Work begins on a camera's message whose frame is so old."""
        self._ages[bisect_left(AGES, seconds)] += 1

    def count(self, name: str, count: int = 1) -> None:
        """A stage counts something of its own."""
        self._counts[name] = self._counts.get(name, 0) + count
        self.beat()

    def source(self, item: int) -> SourceCounters:
        """The counters of a camera, to be raised by the working thread."""
        return self._sources.setdefault(item, SourceCounters())

    def doing(self) -> tuple[Doing, float]:
        """What the working thread does, and for how long it has given no sign of life, in seconds."""
        return self._doing, time.monotonic() - self._alive

    def snapshot(self, *, waiting: int, queued: int, lent: int, remotes: tuple[RemoteWorker, ...] = ()) -> Counters:
        """The counts now."""
        with self._lock:
            now = time.monotonic()
            busy = self._busy + (now - self._busy_since if self._at_work else 0.0)
            blocked = self._blocked + (now - self._since if self._doing == "blocked" else 0.0)
        return Counters(
            received=self._received,
            sent=self._sent,
            batches=self._batches,
            largest_batch=self._largest,
            busy=busy,
            blocked=blocked,
            uptime=now - self._start,
            cpu=time.process_time(),
            resident=resident("self"),
            waiting=waiting,
            queued=queued,
            lent=lent,
            dropped=dict(self._dropped),
            counts=dict(self._counts),
            sources={item: structs.replace(counts) for item, counts in list(self._sources.items())},
            ages=tuple(self._ages),
            remotes=remotes,
        )

    def _change(self, by: int, now: float) -> None:
        """So many more threads work; the lock is held."""
        if not self._at_work:
            self._busy_since = now
        self._at_work += by
        if by < 0 and not self._at_work:
            self._busy += now - self._busy_since


def shares(then: Counters, now: Counters) -> tuple[float, float]:
    """Between two times of one process: the part of that time in which it was busy, 0..1, and processors used."""
    took = now.uptime - then.uptime
    if took <= 0.0:
        return 0.0, 0.0
    return min(1.0, (now.busy - then.busy) / took), (now.cpu - then.cpu) / took


def age_quantile(ages: Sequence[int], share: float) -> float:
    """The age, in seconds, that `share` (0..1) of the counted messages did not exceed; nan if none was counted.

    Within a class ages are taken to be spread evenly; beyond the last bound it is that bound.
    """
    wanted, below = share * sum(ages), 0
    for number, count in enumerate(ages[: len(AGES)]):
        if count and below + count >= wanted:
            low = AGES[number - 1] if number else 0.0
            return low + (AGES[number] - low) * (wanted - below) / count
        below += count
    return AGES[-1] if sum(ages) else float("nan")


def resident(pid: int | Literal["self"]) -> int:
    """Bytes of memory of a process, with shared ones; 0 of one that is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _sum_sources(left: dict[int, SourceCounters], right: dict[int, SourceCounters]) -> dict[int, SourceCounters]:
    both = {item: left[item].plus(right[item]) for item in left.keys() & right.keys()}
    return {**left, **right, **both}


def _sum(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in left | right}
