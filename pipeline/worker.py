"""A stage process: `python -m vultus.pipeline.worker`, started by the supervisor and by nobody else.

Two threads: one owns the sockets and keeps answering while the other is inside a stage.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections import deque
from time import monotonic

from vultus.configs.loader import network_key_file
from vultus.configs.schema import Config, Group
from vultus.pipeline import child
from vultus.pipeline.audience import Audience
from vultus.pipeline.chain import Chain
from vultus.pipeline.codec import Part, PlainCodec
from vultus.pipeline.control import (
    Beat,
    Bound,
    Cancel,
    Clear,
    Drain,
    Drained,
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
from vultus.pipeline.errors import PipelineError
from vultus.pipeline.frames import FrameReader, FrameRing
from vultus.pipeline.gate import Duty, Gate
from vultus.pipeline.hop import Delivery, Inlet, OnePathPerItem, Outlet
from vultus.pipeline.intake import Cancelled, Intake
from vultus.pipeline.keys import of_main
from vultus.pipeline.messages import Message, Noticed, SourceState, WorkerState
from vultus.pipeline.metrics import Counters, Meter
from vultus.pipeline.queues import FairQueue, Inbox
from vultus.pipeline.runner import Runner, WatchedEvent
from vultus.pipeline.stage import Context, Stage
from vultus.pipeline.transport import Dealer, Loop

_NOTICE_EVERY = 0.5


class WorkerSpec(child.ChildSpec, frozen=True, kw_only=True):
    """All that a stage process has to know."""

    name: str
    """`<group>/<worker>/<incarnation>`, its name on every socket."""
    group: Group
    worker: int
    incarnation: int
    """How many processes stood in its place before."""
    outlet: str
    control: str
    credit: int
    """Messages it asks each sender for."""
    takes_items: bool
    next_workers: int
    next_sticky: bool
    lend_frames: bool
    """Whether the next group is on this host and reads pictures from shared memory."""
    config: Config
    factory: str
    """`module:function`, called as `function(stage name, config)` for each stage of the group; of a group on other hosts the
    module's `models` instead."""


class Worker:
    """The two threads of a stage process and what they share."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._loop = Loop()
        self._meter = Meter()
        self._stopping = WatchedEvent(self._meter)
        self._reader = FrameReader()
        self._inbox: Inbox[Delivery] = Inbox()
        self._queue = FairQueue(spec.group.queue, self._loop.wake)
        self._cancelled = Cancelled()
        self._audience = Audience()
        self._reports: deque[ToSupervisor] = deque()
        self._addresses: dict[str, str] = {}
        self._told_of: dict[int, float] = {}
        self._seen: deque[int] = deque(maxlen=1024)
        self._open = self._quit = self._draining = False
        self._farewell: type[Drained] | Failed | None = None
        self._duty: Duty | None = None
        self._gate: Gate | None = None

    def run(self) -> int:
        """The working thread: open the stages, work until told to drain; the exit code."""
        sockets = child.socket_thread(self._loop, self._run_sockets)
        sockets.start()
        self._opening = True
        try:
            if self._spec.group.hosts:
                self._duty = self._prepared()
                self._meter.turn("idle")
                self._tell(Opened())
            else:
                self._work()
                self._farewell = Drained
        except Exception as error:  # noqa: BLE001 -- told to the supervisor, which decides what becomes of it
            traceback.print_exc()
            self._farewell = Failed(reason=f"{type(error).__name__}: {error}", opening=self._opening)
        self._loop.wake()
        sockets.join()
        return child.EXIT_FAILED if isinstance(self._farewell, Failed) else 0

    def quit(self) -> None:
        """Finish what is begun, leave the rest, and end; safe from a signal handler."""
        self._quit = True
        self._loop.wake()

    def _work(self) -> None:
        """Open the stages and run them until there is nothing more."""
        runner = Runner(
            inbox=self._inbox,
            queue=self._queue,
            reader=self._reader,
            meter=self._meter,
            cancelled=self._cancelled,
            finished=lambda deliveries: self._inlet.finished(deliveries),
            takes_items=self._spec.takes_items,
            max_batch=self._spec.group.max_batch,
            max_wait=self._spec.group.max_wait_ms / 1000,
            max_age=self._spec.config.pipeline.max_age,
        )
        context = Context(
            stopping=self._stopping,
            report=self._report,
            count=self._meter.count,
            arrivals=lambda: [*runner.arrivals(), *self._noticed()],
            notice=self._notice,
            arrived=self._arrived,
            at_work=self._meter.at_work,
            audience=self._audience,
            show=lambda what: self._tell(Shown(what=what)),
            life=self._spec.incarnation,
        )
        with Chain(self._stages(), context, runner.admit) as chain:
            self._opening = False
            self._open = True
            self._tell(Opened())
            runner.run(chain)
        self._meter.turn("blocked")

    def _prepared(self) -> Duty:
        """What a group that other hosts work for needs instead of its stages."""
        config, group = self._spec.config, self._spec.group
        models = getattr(importlib.import_module(self._spec.factory.partition(":")[0]), "models")  # noqa: B009 -- untyped
        keys = of_main(config, network_key_file(config))
        return Duty(config=config, group=group, keys=keys, models=models(group.stages[0], config))

    def _begin_gate(self, duty: Duty) -> None:
        self._gate = Gate(
            self._loop,
            duty,
            intake=Intake(self._reader, self._meter, self._cancelled, duty.config.pipeline.max_age),
            inbox=self._inbox,
            queue=self._queue,
            meter=self._meter,
            cancelled=self._cancelled,
            finished=self._inlet.finished,
            notice=self._notice,
            report=self._report_remote,
        )

    def _report_remote(self, host: str, came: bool, why: str) -> None:
        state = WorkerState(
            group=self._spec.group.name,
            worker=self._spec.worker,
            state="joined" if came else "left",
            reason=why,
            host=host,
        )
        self._tell(Report(state=state))

    def _stages(self) -> list[Stage]:
        module, _, function = self._spec.factory.partition(":")
        build = getattr(importlib.import_module(module), function)
        return [build(name, self._spec.config) for name in self._spec.group.stages]

    def _notice(self, item: int) -> None:
        now = monotonic()
        if now - self._told_of.get(item, 0.0) >= _NOTICE_EVERY:
            self._told_of[item] = now
            self._tell(Seen(item=item))

    def _arrived(self, item: int, count: int) -> None:
        self._meter.source(item).arrived += count

    def _noticed(self) -> list[Message]:
        items = set()
        while self._seen:
            items.add(self._seen.popleft())
        return [Noticed(item=item) for item in items]

    def _report(self, state: SourceState) -> None:
        self._meter.beat()
        self._tell(Report(state=state))

    def _tell(self, message: ToSupervisor) -> None:
        self._reports.append(message)
        self._loop.wake()

    def _run_sockets(self) -> None:
        spec = self._spec
        ring = FrameRing(spec.config.pipeline.frame_slots) if spec.lend_frames else None
        paths = OnePathPerItem(spec.next_workers, sticky=spec.next_sticky)
        self._codec = PlainCodec[ToWorker](ToWorker)
        self._ring = ring
        self._outlet = Outlet(self._loop, spec.outlet, self._queue, paths, self._meter, ring)
        self._inlet = Inlet(self._loop, spec.name, spec.worker, self._inbox, self._reader)
        self._control = Dealer(self._loop, spec.name, spec.control, self._told, last_words=True)
        self._loop.on_file(sys.stdin.fileno(), child.parent_gone)
        self._loop.every(spec.config.pipeline.heartbeat, self._beat)
        self._send(Bound())
        self._loop.run(self._turn)

    def _turn(self) -> None:
        if self._quit:
            self._stopping.set()
            self._inbox.close(discard=True)
            self._queue.close()
        while self._reports:
            message = self._reports.popleft()
            if isinstance(message, Opened) and not self._enter():
                continue
            self._send(message)
        if self._gate is not None:
            self._pump(self._gate)
        self._inlet.pump()
        self._outlet.pump()
        if isinstance(self._farewell, Failed):
            self._send(self._farewell)
            self._loop.stop()
        elif self._farewell is Drained and self._outlet.idle:
            if self._gate is not None:
                self._gate.close()
            self._send(Drained(counters=self._snapshot()))
            self._loop.stop()

    def _enter(self) -> bool:
        """Work may come; false if that cannot be, which is told."""
        if self._duty is not None:
            try:
                self._begin_gate(self._duty)
            except PipelineError as error:
                self._farewell = Failed(reason=str(error), opening=True)
                return False
        self._open = True
        self._inlet.connect(self._addresses, self._spec.credit)
        return True

    def _pump(self, gate: Gate) -> None:
        if self._quit:
            gate.forget()
        gate.pump()
        self._reader.collect()
        if gate.idle and (self._draining or self._quit):
            self._farewell = Drained

    def _told(self, parts: list[Part]) -> None:
        message = self._codec.decode(parts)
        if isinstance(message, Upstreams):
            self._addresses = message.addresses
            if self._open:
                self._inlet.connect(self._addresses, self._spec.credit)
        elif isinstance(message, Gone):
            self._send(Lost(peer=message.peer, items=self._outlet.gone(message.peer)))
        elif isinstance(message, Cancel):
            self._cancelled.note(message.item, message.attempt)
            self._meter.drop("obsolete", self._queue.discard(self._cancelled.useless))
        elif isinstance(message, Seen):
            self._seen.append(message.item)
        elif isinstance(message, Look):
            self._audience.renew(
                message.item, message.seconds, full=message.full, awake=message.awake, veiled=message.veiled
            )
        elif isinstance(message, Clear):
            self._audience.permit(message.item, message.tracks)
        elif isinstance(message, Drain):
            self._draining = True
            self._stopping.set()
            self._inbox.close(discard=self._spec.takes_items)

    def _beat(self) -> None:
        doing, silent = self._meter.doing()
        self._send(Beat(doing=doing, silent=silent, counters=self._snapshot()))

    def _snapshot(self) -> Counters:
        lent = self._ring.lent if self._ring is not None else 0
        remotes = self._gate.remotes if self._gate is not None else ()
        return self._meter.snapshot(waiting=len(self._inbox), queued=len(self._queue), lent=lent, remotes=remotes)

    def _send(self, message: ToSupervisor) -> None:
        self._control.send(self._codec.encode(message))


def main() -> int:
    """Run one stage process."""
    return child.run(WorkerSpec, Worker)


if __name__ == "__main__":
    sys.exit(main())
