"""The thread behind a `Pipeline`: owns all sockets and processes of the job, feeds the first group, hears the last."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from signal import SIGKILL, SIGTERM

from msgspec import Struct

from vultus.pipeline.audience import Audience
from vultus.pipeline.codec import Codec
from vultus.pipeline.control import Clear, Look, Lost
from vultus.pipeline.errors import CodecError
from vultus.pipeline.feeder import Feeder
from vultus.pipeline.fleet import START_WITHIN, Events, Fleet, Place, Plan
from vultus.pipeline.folder import RunFolder
from vultus.pipeline.frames import FrameReader
from vultus.pipeline.health import Health, Monitor
from vultus.pipeline.hop import Delivery, Inlet, Outlet
from vultus.pipeline.messages import (
    Boxes,
    Item,
    ItemDone,
    ItemEnd,
    Names,
    Preview,
    Result,
    Sighting,
    SourceState,
    WorkerState,
)
from vultus.pipeline.metrics import Meter, WorkerMetrics
from vultus.pipeline.queues import Inbox
from vultus.pipeline.screen import Screen
from vultus.pipeline.transport import Loop

_NAME = "feeder"
_RESULTS_AHEAD = 64
"""Results of each last process that wait for the caller before that process has to."""
_SOURCES_SHARE = 0.5
_TERMINATE_SHARE = 0.85
"""Of the time for stopping: when the sources are cut off, and when everybody is told to leave unfinished work."""
_SAMPLE_EVERY = 1.0
_log = logging.getLogger(__name__)


class Wanted(Struct, frozen=True):
    """Hub → caller: get one more item."""


class Came(Struct, frozen=True):
    """Hub → caller: a result, and the delivery it came in, if any."""

    result: Result
    delivery: Delivery | None


class Over(Struct, frozen=True):
    """Hub → caller: nothing more will come."""

    error: BaseException | None


Mailbox = SimpleQueue[Wanted | Came | Over]


class Hub(threading.Thread):
    """Other threads call `post`, `stop`, `consumed`, `metrics`, and nothing else."""

    def __init__(self, plan: Plan, folder: RunFolder, live_sources: int, mailbox: Mailbox) -> None:
        """`folder` becomes the hub's, which removes it at the end."""
        super().__init__(name="vultus-hub")
        self._plan, self._folder, self._mailbox = plan, folder, mailbox
        self._loop = Loop()
        self._meter = Meter()
        self._codec = Codec()
        self._posted: deque[Callable[[], None]] = deque()
        self._inbox: Inbox[Delivery] = Inbox()
        self._untaken: dict[int, Delivery] = {}
        self._audience, self.screen = Audience(), Screen()
        per_worker = plan.config.decode.cameras_per_process
        self._feeder = Feeder(live_sources, self._cancel, self._tell, per_worker=per_worker, retire=self._retire)
        self._feeder.hold_live = True
        self._inlet = Inlet(self._loop, _NAME, 0, self._inbox, FrameReader())
        self._fleet: Fleet | None = None
        self._monitor = Monitor()
        self._loop.every(_SAMPLE_EVERY, lambda: self._monitor.sample(self.metrics()))
        self._stop_wanted = self._begun = self._hurried = False
        self._draining = -1
        self._silent: dict[str, set[str]] = {}
        self._suspects: dict[str, set[int]] = {}

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` in this thread."""
        self._posted.append(action)
        self._loop.wake()

    def stop(self) -> None:
        """See `Pipeline.stop`."""
        self._stop_wanted = True
        self._loop.wake()

    def begin(self, seconds: float | None, *, endless: bool) -> None:
        """Posted: start feeding, and stop by itself after `seconds`."""
        self._begun, self._feeder.endless = True, endless
        if seconds is not None:
            self._loop.after(seconds, self.stop)

    def feed(self, item: Item | None) -> None:
        """Posted: what the caller's items gave; none if that was the end."""
        if item is None:
            self._feeder.exhaust()
            return
        if item.live:
            self._monitor.begin(item)
        self._feeder.add(item)

    def add(self, item: Item) -> None:
        """Posted: one more item, from outside of the caller's items; a further process watches it if none has a place."""
        if self._draining >= 0 or self._fleet is None:
            return
        if item.live and not self._feeder.announce():
            self._feeder.widen(self._fleet.grow())
        if item.live:
            self._monitor.begin(item)
        self._feeder.add(item, asked=False)

    def leave(self, item: int) -> None:
        """Posted: watch this live item no longer."""
        self._monitor.end(item)
        self.screen.forget(item)
        self._feeder.leave(item)

    def look(self, look: Look) -> None:
        """Posted: somebody looks at a camera."""
        worker = self._feeder.watcher(look.item)
        if self._fleet is None or worker is None:
            return
        if self._audience.of(look.item) is None:
            self.screen.forget(look.item)
        self._audience.renew(look.item, look.seconds, full=look.full, awake=look.awake, veiled=look.veiled)
        self._fleet.tell_lookers(worker, look)

    def consumed(self, delivery: Delivery) -> None:
        """The caller is done with a result."""
        self.post(lambda: self._settle(delivery))

    def health(self) -> Health:
        """See `Pipeline.health`."""
        return self._monitor.health(self.metrics(), self._fleet.spares() if self._fleet is not None else ())

    def metrics(self) -> tuple[WorkerMetrics, ...]:
        """See `Pipeline.metrics`."""
        return self._fleet.metrics() if self._fleet is not None else ()

    def run(self) -> None:
        """Until everything is done or stopped; whatever went wrong is told to the caller."""
        error: BaseException | None = None
        try:
            with self._loop:
                self._work()
        except BaseException as caught:  # noqa: BLE001 -- raised again in the caller's thread
            error = caught
        try:
            self._folder.remove()
        except OSError as caught:
            error = error or caught
        self.screen.close()
        self._mailbox.put(Over(error))

    def _work(self) -> None:
        events = Events(
            state=self._tell,
            died=self._died,
            lost=self._lost,
            bound=self._connect,
            ended=self._drain_on,
            seen=self._seen,
            shown=self._shown,
            malformed=self._feeder.incomplete,
        )
        self._outlet = Outlet(self._loop, self._plan.address(_NAME), self._feeder, self._feeder, self._meter, None)
        self._fleet = Fleet(self._loop, self._plan, events, _NAME)
        try:
            self._fleet.start()
            self._loop.after(START_WITHIN, self._begin_live)
            self._loop.run(self._turn)
        finally:
            self._fleet.kill_all()

    def _turn(self) -> None:
        while self._posted:
            self._posted.popleft()()
        while len(self._inbox):
            for delivery in self._inbox.take(_RESULTS_AHEAD, 0.0):
                self._take(delivery)
        if self._feeder.hold_live and self._fleet is not None and self._fleet.opened(1):
            self._begin_live()
        if self._stop_wanted:
            self._hurry()
        elif self._begun and self._draining < 0:
            if self._feeder.finished:
                self._drain()
            elif self._feeder.hungry(self._outlet.peers):
                self._mailbox.put(Wanted())
        self._inlet.pump()
        if self._draining < 0:
            self._outlet.pump()

    def _begin_live(self) -> None:
        """Cameras may send: a frame that came before everybody is there would be named when it is old. After `START_WITHIN`
        they send anyhow; who is not there by then is slow or broken, and nobody else shall wait for it."""
        if self._feeder.hold_live:
            self._feeder.hold_live = False
            self._monitor.begin_live()

    def _take(self, delivery: Delivery) -> None:
        try:
            message = self._codec.decode(delivery.parts)
        except CodecError as error:
            _log.warning("a result is no message: %s", error)
            self._feeder.incomplete()
            self._inlet.finished([delivery])
            return
        result: Result | None = None
        if isinstance(message, ItemDone):
            result = self._feeder.done(message)
        elif isinstance(message, Sighting | SourceState | WorkerState):
            result = message
        elif not isinstance(message, ItemEnd):
            _log.warning("the last stage gave a %s, which nobody takes", type(message).__name__)
            self._meter.drop("unexpected")
        if result is None or self._draining >= 0:
            self._inlet.finished([delivery])
        else:
            self._untaken[id(delivery)] = delivery
        if result is not None:
            self._mailbox.put(Came(result, delivery))

    def _settle(self, delivery: Delivery) -> None:
        if self._untaken.pop(id(delivery), None) is not None:
            self._inlet.finished([delivery])

    def _tell(self, result: Result) -> None:
        if isinstance(result, SourceState):
            self._monitor.state(result)
        self._mailbox.put(Came(result, None))

    def _cancel(self, item: int, attempt: int) -> None:
        if self._fleet is not None:
            self._fleet.cancel(item, attempt)

    def _retire(self, worker: int) -> None:
        if self._fleet is not None and self._draining < 0:
            self._fleet.retire(worker)

    def _connect(self) -> None:
        if self._fleet is not None:
            self._inlet.connect(self._fleet.addresses(len(self._plan.groups) - 1), _RESULTS_AHEAD)

    def _died(self, place: Place, name: str) -> None:
        group = self._plan.groups[place.group].name
        for dead, silent in list(self._silent.items()):
            silent.discard(name)
            self._all_heard(dead)
        if place.group == 0:
            self._feeder.first_group_died(place.worker, self._outlet.gone(name), group)
        elif self._fleet is not None:
            # Its senders know what it had not finished; only then are the items handed out again.
            senders = self._fleet.group(place.group - 1)
            self._silent[name] = {sender.name for sender in senders if sender.process is not None and sender.bound}
            self._suspects[name] = set()
            self._all_heard(name)

    def _seen(self, item: int) -> None:
        worker = self._feeder.watcher(item)
        if self._fleet is not None and worker is not None:
            self._fleet.tell_decoder(worker, item)

    def _shown(self, what: Preview | Boxes | Names) -> None:
        lease, worker = self._audience.of(what.item), self._feeder.watcher(what.item)
        if lease is None or worker is None or (isinstance(what, Preview) and lease.veiled and not what.veiled):
            return  # late words
        if isinstance(what, Names) and lease.veiled and self._fleet is not None:
            clear = tuple(who.track for who in what.people if who.clear)
            self._fleet.tell_lookers(worker, Clear(item=what.item, tracks=clear))
        full = isinstance(what, Preview) and what.full
        if full:
            lease.given()
        if full or lease.watched:
            self.screen.put(what)

    def _lost(self, lost: Lost, sender: str) -> None:
        if lost.peer in self._silent:
            self._suspects[lost.peer].update(lost.items)
            self._silent[lost.peer].discard(sender)
            self._all_heard(lost.peer)

    def _all_heard(self, dead: str) -> None:
        if not self._silent[dead]:
            del self._silent[dead]
            group = self._plan.groups[int(dead.partition("/")[0])].name
            self._feeder.later_group_died(self._suspects.pop(dead), group)

    def _drain(self) -> None:
        """End the groups in order, each when those before it are gone and all their messages with the next."""
        self._draining = 0
        self._inlet.finished(self._untaken.values())
        self._untaken.clear()
        assert self._fleet is not None
        self._fleet.drain(0)
        self._drain_on()

    def _drain_on(self) -> None:
        assert self._fleet is not None
        while self._draining >= 0 and not self._fleet.running(self._draining):
            self._draining += 1
            if self._draining == len(self._plan.groups):
                self._fleet.end()
                self._loop.stop()
                return
            self._fleet.drain(self._draining)

    def _hurry(self) -> None:
        """From now on there is `stop_within` for everything."""
        if self._draining < 0:
            self._drain()
        if not self._hurried:
            self._hurried = True
            within = self._plan.config.pipeline.stop_within
            self._loop.after(within * _SOURCES_SHARE, self._cut_off_sources)
            self._loop.after(within * _TERMINATE_SHARE, self._terminate)
            self._loop.after(within, self._loop.stop)

    def _cut_off_sources(self) -> None:
        """Sources that do not end must not take the time that results on their way need."""
        if self._draining == 0 and self._fleet is not None:
            self._fleet.signal(SIGKILL, 0)

    def _terminate(self) -> None:
        if self._fleet is not None:
            self._fleet.end()
            self._fleet.signal(SIGTERM)
