"""Keeps the stage processes of a job running: starts them, tells them of each other, notices those that died or hang,
starts them again with growing pauses, and ends them in order.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Literal

from msgspec import Struct, structs

from vultus.configs.address import redact_text
from vultus.configs.schema import Config, Group
from vultus.pipeline.codec import Part, PlainCodec
from vultus.pipeline.control import (
    Beat,
    Bound,
    Cancel,
    Clear,
    Drain,
    Failed,
    Gone,
    Look,
    Lost,
    Opened,
    Report,
    Seen,
    Shown,
    ToSupervisor,
    ToWorker,
    Upstreams,
)
from vultus.pipeline.errors import CodecError, WorkerFailed
from vultus.pipeline.messages import Boxes, Names, Preview, SourceState, WorkerState
from vultus.pipeline.metrics import Counters, SpareMetrics, WorkerMetrics, shares
from vultus.pipeline.network import WORKS_AHEAD
from vultus.pipeline.process import WorkerProcess
from vultus.pipeline.spare import SpareSpec
from vultus.pipeline.standby import Standby
from vultus.pipeline.transport import Loop, Router
from vultus.pipeline.worker import WorkerSpec

STICKY = frozenset({"track", "match", "store"})
"""Stages that keep something of an item between messages."""
_LOOKED_AT = frozenset({"track", "match"})
"""Stages behind the decoders that tell whoever looks at a camera what they see."""
HEALTHY_AFTER = 10.0
"""A process that worked so long before it died is started again with the shortest pause."""
MISSED_BEATS = 6
"""After so many the process counts as hanging."""
STOPPED_BEATS = 1
"""The same for one that the kernel says is stopped: that is no busy machine, and nobody need wait to be sure."""
START_WITHIN = 30.0
"""Seconds that a process may take to import its libraries and load its models, however short `hang_after` is."""
OPEN_FAILURES = 3
"""Failures to open its stages, in a row, after which a process that never did will never come up."""
SPARE_AFTER = 3.0
"""Seconds after the last process opened its stages until a spare is started: cameras that connect come first."""
SPAN = 5.0
"""Seconds over which busy shares are measured."""
_ABORT_GRACE = 0.3
_LAST_WORDS = 0.03
"""Seconds that the last message of a process may need after its end is seen."""
_FIRST_CREDIT = 2
_log = logging.getLogger(__name__)


class Place:
    """One worker of one group: the process that fills it now, and what the ones before it left."""

    def __init__(self, group: int, worker: int) -> None:
        self.group, self.worker = group, worker
        self.process: WorkerProcess | None = None
        self.incarnation = self.restarts = self.deaths = self.open_failures = 0
        self.wanted = True
        """Whether a process is to be here; not if it has no cameras any more."""
        self.proven = False
        """Whether one was here whose stages opened."""
        self.bound = self.opened = self.drained = False
        self.last_beat = self.started_at = self.opened_at = 0.0
        self.failed: Failed | None = None
        self.kill_reason = ""
        self.before, self.now = Counters(), Counters()
        self.lately: deque[Counters] = deque()
        """What the present process told in the last seconds."""

    @property
    def name(self) -> str:
        """Of its process, on every socket."""
        return f"{self.group}/{self.worker}/{self.incarnation}"

    def heard(self, counters: Counters) -> None:
        """Its process told where it stands."""
        self.now = counters
        self.lately.append(counters)
        while len(self.lately) > 2 and counters.uptime - self.lately[1].uptime >= SPAN:
            self.lately.popleft()


class Plan(Struct, frozen=True, kw_only=True):
    """What the fleet is to run."""

    config: Config
    groups: tuple[Group, ...]
    workers: tuple[int, ...]
    """How many processes each group has."""
    factory: str
    live: bool
    folder: Path

    def address(self, name: str) -> str:
        """Where the process of that name listens for receivers."""
        return f"ipc://{self.folder / name.replace('/', '.')}"


class Events(Struct, frozen=True, kw_only=True):
    """Whom the fleet tells what."""

    state: Callable[[WorkerState | SourceState], None]
    died: Callable[[Place, str], None]
    """A process is gone, by its place and the name it had; told before its receivers and senders are."""
    lost: Callable[[Lost, str], None]
    """A sender's answer about a receiver that died, and the sender's name."""
    bound: Callable[[], None]
    """The addresses of the last group changed."""
    ended: Callable[[], None]
    """A process ended while its group was being drained."""
    seen: Callable[[int], None]
    """A camera shows faces, by its item."""
    shown: Callable[[Preview | Boxes | Names], None]
    """Something of a camera that somebody looks at."""
    malformed: Callable[[], None]
    """A process got something that is no message."""


class Fleet:
    """Belongs to the thread that runs the loop. A child dies with that thread (the kernel's parent-death signal)."""

    def __init__(self, loop: Loop, plan: Plan, events: Events, feeder_name: str) -> None:
        self._loop, self._plan, self._events, self._feeder = loop, plan, events, feeder_name
        self._codec = PlainCodec[ToSupervisor](ToSupervisor)
        self._control = Router(loop, plan.address("control"), self._received)
        self.places = [Place(group, worker) for group, many in enumerate(plan.workers) for worker in range(many)]
        self._standby = Standby(loop, self._spare(), plan.config.pipeline)
        self._draining: set[int] = set()
        self._ending = False
        self._last_look = time.monotonic()

    def start(self) -> None:
        """Start every process; raises WorkerFailed if one cannot be."""
        for place in self.places:
            self._begin(place)
        self._loop.every(self._plan.config.pipeline.heartbeat, self._look)

    def grow(self) -> int:
        """One more process in the first group; the number of its place."""
        place = next((place for place in self.group(0) if not place.wanted and place.process is None), None)
        if place is None:
            place = Place(0, sum(1 for _ in self.group(0)))
            self.places.append(place)
        else:
            place.wanted = True
            place.incarnation += 1
            place.deaths = place.open_failures = 0
        self._start(place)
        return place.worker

    def retire(self, worker: int) -> None:
        """Let one process of the first group end, which will get nothing any more, and start none in its place."""
        place = next(place for place in self.group(0) if place.worker == worker)
        place.wanted = False
        self._drain(place)

    def group(self, group: int) -> Iterator[Place]:
        """The places of a group."""
        return (place for place in self.places if place.group == group)

    def addresses(self, group: int) -> dict[str, str]:
        """Where the processes of a group listen, by name; group -1 is the feeder."""
        if group < 0:
            return {self._feeder: self._plan.address(self._feeder)}
        return {place.name: self._plan.address(place.name) for place in self.group(group) if place.bound}

    def cancel(self, item: int, attempt: int) -> None:
        """Tell everybody that earlier attempts of an item are worthless."""
        for place in self.places:
            self._send(place, Cancel(item=item, attempt=attempt))

    def tell_decoder(self, worker: int, item: int) -> None:
        """Tell a process of the first group that a camera of its shows faces."""
        for place in self.group(0):
            if place.worker == worker:
                self._send(place, Seen(item=item))

    def tell_lookers(self, decoder: int, message: Look | Clear) -> None:
        """Tell the process of the first group that watches a camera, and all that work on it, who looks at it."""
        for place in self.places:
            stages = self._plan.groups[place.group].stages
            if place.worker == decoder if place.group == 0 else _LOOKED_AT.intersection(stages):
                self._send(place, message)

    def drain(self, group: int) -> None:
        """Let a group finish what it has and end; the groups before it have ended."""
        self._draining.add(group)
        self._standby.dismiss()
        for place in self.group(group):
            self._drain(place)

    def running(self, group: int | None = None) -> bool:
        """Whether a process (of that group) is there."""
        return any(place.process for place in (self.places if group is None else self.group(group)))

    def opened(self, first: int) -> bool:
        """Whether every process of the group `first` and of those behind it takes work."""
        return all(place.opened or not place.wanted for place in self.places if place.group >= first)

    def signal(self, number: signal.Signals, group: int | None = None) -> None:
        """Send a signal to every process (of that group)."""
        for place in self.places if group is None else self.group(group):
            if place.process is not None:
                place.process.signal(number)

    def end(self) -> None:
        """Start nothing any more."""
        self._ending = True
        self._standby.dismiss()

    def kill_all(self) -> None:
        """Kill what is still there, and wait for it."""
        self.end()
        for place in self.places:
            if place.process is not None:
                place.process.kill_now()
                place.process = None

    def metrics(self) -> tuple[WorkerMetrics, ...]:
        """Where every process stands; from any thread."""
        return tuple(self._metrics(place) for place in self.places)

    def spares(self) -> tuple[SpareMetrics, ...]:
        """The processes that wait for an empty place; from any thread."""
        return self._standby.metrics()

    def _metrics(self, place: Place) -> WorkerMetrics:
        process, group = place.process, self._plan.groups[place.group]
        state: Literal["starting", "running", "waiting", "ended"] = "running" if place.opened else "starting"
        lately = tuple(place.lately)
        busy_share, cores = shares(lately[0], lately[-1]) if lately else (0.0, 0.0)
        if process is None:
            state = "ended" if self._over(place) else "waiting"
        return WorkerMetrics(
            group=group.name,
            worker=place.worker,
            stages=group.stages,
            state=state,
            pid=process.pid if process is not None else None,
            restarts=place.restarts,
            counters=place.before.plus(place.now),
            busy_share=round(busy_share, 4),
            cores=round(cores, 4),
            hosts=group.hosts,
        )

    def _start(self, place: Place) -> None:
        if self._over(place) or place.process is not None:
            return
        try:
            self._begin(place)
        except WorkerFailed as error:
            # The machine is short of memory or processes just now; cameras are watched for weeks, and that passes.
            _log.warning("%s; the next try comes in %g s", error, self._plan.config.pipeline.restart_max)
            self._loop.after(self._plan.config.pipeline.restart_max, lambda: self._start(place))

    def _begin(self, place: Place) -> None:
        place.bound = place.opened = place.drained = False
        place.failed, place.kill_reason = None, ""
        place.last_beat = place.started_at = time.monotonic()
        spec = self._spec(place)

        def ended(process: WorkerProcess) -> None:
            self._ended(place, process)

        place.process = self._standby.take(spec, ended) or WorkerProcess(self._loop, spec, ended)

    def _over(self, place: Place) -> bool:
        """Whether no process is to be started there any more."""
        return self._ending or place.group in self._draining or not place.wanted

    def _drain(self, place: Place) -> None:
        if place.opened:
            self._send(place, Drain())
        elif place.process is not None:
            # It never had a message, and may be far from reading its first.
            place.drained = True
            place.process.signal(signal.SIGKILL)

    def _spec(self, place: Place) -> WorkerSpec:
        plan, group = self._plan, self._plan.groups[place.group]
        last = place.group == len(plan.groups) - 1
        following = () if last else plan.groups[place.group + 1].stages
        senders = 1 if place.group == 0 else max(1, sum(sender.wanted for sender in self.group(place.group - 1)))
        # A live message is best kept where a newer one can still push it out; for files the pipe is kept full.
        first = max(_FIRST_CREDIT, plan.config.decode.cameras_per_process)
        at_once = group.max_batch
        if group.hosts and isinstance(group.workers, int):
            at_once *= len(group.hosts) * group.workers * (1 if plan.live else WORKS_AHEAD)
        credit = first if place.group == 0 else ceil(at_once / senders) + (not plan.live)
        return WorkerSpec(
            title=f"{group.name}[{place.worker}]",
            name=place.name,
            group=group,
            worker=place.worker,
            incarnation=place.incarnation,
            parent=os.getpid(),
            outlet=plan.address(place.name),
            control=plan.address("control"),
            credit=credit,
            takes_items=place.group == 0,
            next_workers=1 if last else plan.workers[place.group + 1],
            next_sticky=bool(STICKY.intersection(following)),
            lend_frames=not last,
            # What a process works on comes as items; passwords of cameras go to those that open them and no further.
            config=structs.replace(plan.config, sources=()),
            factory=plan.factory,
            sys_path=_sys_path(),
        )

    def _spare(self) -> SpareSpec:
        return SpareSpec(title="spare", parent=os.getpid(), sys_path=_sys_path(), factory=self._plan.factory)

    def _received(self, name: str, parts: list[Part]) -> None:
        place = next((place for place in self.places if place.name == name and place.process), None)
        if place is None:
            return  # late words of a process that was killed
        try:
            self._take(place, self._codec.decode(parts))
        except CodecError as error:
            _log.warning("process %s said something strange: %s", name, error)

    def _take(self, place: Place, message: ToSupervisor) -> None:
        place.last_beat = time.monotonic()
        if isinstance(message, Beat):
            self._beat(place, message)
        elif isinstance(message, Bound):
            place.bound = True
            self._send(place, Upstreams(addresses=self.addresses(place.group - 1)))
            self._tell_receivers(place.group)
        elif isinstance(message, Opened):
            place.opened, place.opened_at, place.open_failures = True, time.monotonic(), 0
            place.proven = True
            if place.restarts:
                self._tell(place, "restarted", "")
            # Files wait; cameras do not.
            if self._plan.live and self.opened(0):
                self._loop.after(SPARE_AFTER, self._standby.fill)
        elif isinstance(message, Failed):
            place.failed = message
        elif isinstance(message, Report):
            self._events.state(message.state)
        elif isinstance(message, Seen):
            self._events.seen(message.item)
        elif isinstance(message, Shown):
            self._events.shown(message.what)
        elif isinstance(message, Lost):
            self._events.lost(message, place.name)
        else:
            place.drained = True
            place.heard(message.counters)

    def _beat(self, place: Place, beat: Beat) -> None:
        if beat.counters.dropped.get("malformed", 0) > place.now.dropped.get("malformed", 0):
            self._events.malformed()
        place.heard(beat.counters)
        limit = self._patience(place)
        if beat.doing in ("busy", "opening") and beat.silent > limit:
            self._kill_hanging(place, self._slow(place) or f"was inside one call for {beat.silent:.1f} s")

    def _look(self) -> None:
        """Notice processes whose heartbeats stopped."""
        self._standby.look()
        now, config = time.monotonic(), self._plan.config.pipeline
        paused = now - self._last_look > 3 * config.heartbeat
        self._last_look = now
        for place in self.places:
            if paused:
                # This process itself stood still (Ctrl-Z, a laptop asleep): nobody else is to blame for the silence.
                place.last_beat = now
            limit = MISSED_BEATS * config.heartbeat if place.opened else self._patience(place)
            silent = now - place.last_beat
            if place.process is None or place.kill_reason:
                continue
            if silent > limit:
                self._kill_hanging(place, self._slow(place) or f"gave no sign of life for {silent:.1f} s")
            elif silent > STOPPED_BEATS * config.heartbeat and place.process.stopped:
                self._kill_hanging(place, f"was stopped (SIGSTOP) for {silent:.1f} s", stopped=True)

    def _patience(self, place: Place) -> float:
        """Seconds that one call may take."""
        hang_after = self._plan.config.pipeline.hang_after
        return hang_after if place.opened else max(hang_after, START_WITHIN)

    def _slow(self, place: Place) -> str:
        """What is wrong with a process that takes too long to start; empty if it has started."""
        if place.opened:
            return ""
        return f"had not opened its stages {time.monotonic() - place.started_at:.1f} s after its start"

    def _kill_hanging(self, place: Place, reason: str, *, stopped: bool = False) -> None:
        process = place.process
        if process is None or place.kill_reason:
            return
        place.kill_reason = reason
        _log.warning("process %s[%d] %s and is killed", self._plan.groups[place.group].name, place.worker, reason)
        if stopped:
            process.signal(signal.SIGKILL)
            return
        # On SIGABRT it prints where it hangs.
        process.signal(signal.SIGABRT)
        self._loop.after(_ABORT_GRACE, lambda: process.signal(signal.SIGKILL))

    def _ended(self, place: Place, process: WorkerProcess) -> None:
        self._loop.after(_LAST_WORDS, lambda: self._judge(place, process))

    def _judge(self, place: Place, process: WorkerProcess) -> None:
        if place.process is not process:
            return  # `kill_all` came first
        name, reason = place.name, self._reason(place, process)
        place.process, place.bound = None, False
        place.before, place.now = place.before.plus(place.now.at_rest()), Counters()
        place.lately.clear()
        in_order = place.drained and self._over(place)
        self._plan.folder.joinpath(name.replace("/", ".")).unlink(missing_ok=True)
        if not in_order:
            self._tell(place, "died", reason)
        self._events.died(place, name)
        for sender in self.group(place.group - 1):
            self._send(sender, Gone(peer=name))
        self._tell_receivers(place.group)
        if self._ending or place.group in self._draining:
            self._events.ended()
        elif place.wanted:
            self._restart_later(place, reason)

    def _restart_later(self, place: Place, reason: str) -> None:
        config = self._plan.config.pipeline
        if not place.opened:
            place.open_failures += 1
            # What could be opened once will be again, when the database is back or the disk has room: cameras are for weeks.
            if place.open_failures >= OPEN_FAILURES and not (self._plan.live and place.proven):
                raise WorkerFailed(f"{self._plan.groups[place.group].name}[{place.worker}] cannot start: {reason}")
        elif time.monotonic() - place.opened_at > HEALTHY_AFTER:
            place.deaths = 0
        pause = min(config.restart_max, config.restart_first * 2.0 ** min(place.deaths, 30))
        place.deaths += 1
        place.incarnation += 1
        place.restarts += 1
        place.opened = False
        self._loop.after(pause, lambda: self._start(place))

    def _reason(self, place: Place, process: WorkerProcess) -> str:
        if place.failed is not None:
            return redact_text(place.failed.reason)
        if place.kill_reason:
            return place.kill_reason
        return f"{process.how_it_ended}; {process.last_words}" if process.last_words else process.how_it_ended

    def _tell_receivers(self, group: int) -> None:
        if group == len(self._plan.groups) - 1:
            self._events.bound()
            return
        for place in self.group(group + 1):
            self._send(place, Upstreams(addresses=self.addresses(group)))

    def _tell(self, place: Place, state: Literal["died", "restarted"], reason: str) -> None:
        group = self._plan.groups[place.group].name
        self._events.state(WorkerState(group=group, worker=place.worker, state=state, reason=reason))

    def _send(self, place: Place, message: ToWorker) -> None:
        # One that has not said its first word yet is told everything when it does; one that is gone needs nothing.
        if place.process is not None and place.bound:
            self._control.send(place.name, self._codec.encode(message))


def _sys_path() -> tuple[str, ...]:
    return tuple(path for path in sys.path if path)
