"""What stands in a group's place when other hosts do its work: a process that hands batches to them and takes their answers.

To its neighbours it is a process like any other, with the same credit, leases and heartbeats; so whatever becomes of it is
handled as the death of any process is. It keeps every message until the answer is there and was handed on. If a worker
goes away, its messages go to the next one that is free, each alone, so that one which nobody survives shows itself.
Answers leave in the order in which the messages of their item came, whoever was faster.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from vultus.configs.schema import Config, Group
from vultus.pipeline.codec import Codec, Part, PlainCodec
from vultus.pipeline.errors import CodecError, WorkerFailed
from vultus.pipeline.hop import Delivery
from vultus.pipeline.intake import Cancelled, Intake, push
from vultus.pipeline.keys import Keys
from vultus.pipeline.messages import Chips, Detections, Frame, Message
from vultus.pipeline.metrics import Meter, RemoteWorker
from vultus.pipeline.network import (
    MAX_PART_TO_MAIN,
    WORK_BYTES,
    WORKS_AHEAD,
    Able,
    Alive,
    Answer,
    Knock,
    Oversized,
    Refused,
    Said,
    Task,
    ToMain,
    Unable,
    Work,
    answers,
    mentioned,
    pack,
)
from vultus.pipeline.queues import FairQueue, Inbox, droppable, item_of
from vultus.pipeline.transport import Entrance, Loop

MAX_TRIES = 3
"""Workers that a message may lose before this process gives it back, as a process that died of it would."""
MAX_SESSIONS = 256
MAX_COUNTERS = 64
"""Different counters of a stage; a worker that invents more is not listened to."""
SILENT_BEATS = 6
"""Heartbeats after which a worker counts as gone."""
REFUSALS = frozenset(
    f"network_{kind}" for kind in ("denied", "malformed", "oversized", "replayed", "stray", "other_model")
)
"""Counters of what did not get in: connections without a permitted key, messages that are none, too large, or said before,
messages of sessions that are over, and workers with another model."""
_log = logging.getLogger(__name__)


class Duty(Struct, frozen=True, kw_only=True):
    """What a gate is for."""

    config: Config
    group: Group
    keys: Keys
    models: dict[str, str]
    """By kind, the fingerprints that a worker must have too."""


class _Job:
    """A message on its way through."""

    __slots__ = ("answer", "delivery", "done", "question", "tries")

    def __init__(self, delivery: Delivery, question: Message) -> None:
        self.delivery, self.question = delivery, question
        self.answer: Message | None = None
        self.done = False
        self.tries = 0


class _Session:
    """A worker that knocked."""

    def __init__(self, peer: bytes, host: str, pid: int) -> None:
        self.peer, self.host, self.pid = peer, host, pid
        self.id = os.urandom(16)
        self.able = False
        self.since = time.time()
        self.heard = time.monotonic()
        self.said = self.told = 0
        """Number of the last message from it, and to it."""
        self.works: OrderedDict[int, tuple[float, list[_Job]]] = OrderedDict()
        """Batches that it has, each with when it got it."""
        self.finished = 0


class Gate:
    """Belongs to the thread that runs the loop. Raises PipelineError if it cannot listen."""

    def __init__(
        self,
        loop: Loop,
        duty: Duty,
        *,
        intake: Intake,
        inbox: Inbox[Delivery],
        queue: FairQueue,
        meter: Meter,
        cancelled: Cancelled,
        finished: Callable[[Iterable[Delivery]], None],
        notice: Callable[[int], None],
        report: Callable[[str, bool, str], None],
    ) -> None:
        """`report(host, came, why)` tells of workers that joined or left."""
        self._duty, self._config = duty, duty.config.pipeline
        self._intake, self._inbox, self._queue, self._meter = intake, inbox, queue, meter
        self._cancelled, self._finished, self._notice, self._report = cancelled, finished, notice, report
        self._codec, self._plain = Codec(), PlainCodec[ToMain](ToMain)
        self._wanted = Frame if duty.group.stages == ("detect",) else Chips
        self._sessions: dict[bytes, _Session] = {}
        self._lanes: OrderedDict[int, deque[_Job]] = OrderedDict()
        self._waiting: deque[_Job] = deque()
        self._works = 0
        self._counted: set[str] = set()
        self._last_look = time.monotonic()
        assert duty.group.listen is not None
        self._entrance = Entrance(
            loop,
            duty.group.listen,
            duty.keys.secret,
            {host.key: host.name for host in duty.config.network.hosts if host.name in duty.group.hosts},
            self._received,
            denied=lambda: self._meter.count("network_denied"),
            left=self._look_round,
            max_part=MAX_PART_TO_MAIN,
        )
        loop.every(self._config.heartbeat, self._look)

    @property
    def idle(self) -> bool:
        """Whether it has nothing."""
        return not self._lanes and not len(self._inbox)

    @property
    def remotes(self) -> tuple[RemoteWorker, ...]:
        """The workers that are there."""
        return tuple(
            RemoteWorker(
                host=session.host,
                pid=session.pid,
                state="working" if session.able else "opening",
                since=session.since,
                finished=session.finished,
                busy_with=sum(len(jobs) for _, jobs in session.works.values()),
            )
            for session in self._sessions.values()
        )

    def pump(self) -> None:
        """Take what came, hand it out, hand answers on."""
        self._take_in()
        for session in list(self._sessions.values()):
            while session.able and len(session.works) < WORKS_AHEAD and self._hand_out(session):
                pass
        self._hand_on()

    def forget(self) -> None:
        """Throw away what is not done."""
        self._waiting.clear()
        self._lanes.clear()

    def close(self) -> None:
        """Tell the workers that this is all, and close."""
        for session in list(self._sessions.values()):
            self._send(session, Refused(reason="the job has ended"))
        self._entrance.close()

    def _take_in(self) -> None:
        deliveries = self._inbox.take_now()
        if deliveries:
            self._meter.batch(len(deliveries))
        for delivery in deliveries:
            question = self._intake.opened(delivery)
            if question is None:
                self._finished([delivery])
                continue
            job = _Job(delivery, question)
            self._lanes.setdefault(item_of(question), deque()).append(job)
            if isinstance(question, self._wanted):
                self._waiting.append(job)
            else:  # the stage would only pass it on
                job.answer, job.done = question, True

    def _hand_out(self, session: _Session) -> bool:
        """Give a worker a batch; false if there is none, or it cannot be reached."""
        jobs: list[_Job] = []
        pixels = 0
        while self._waiting and len(jobs) < self._duty.group.max_batch:
            job = self._waiting[0]
            if self._cancelled.useless(job.question) or self._intake.late(job.question):
                self._waiting.popleft()
                job.done = True
                continue
            pixels += job.question.image.nbytes if isinstance(job.question, Frame) else 0
            if jobs and (job.tries or pixels > WORK_BYTES):
                break
            jobs.append(self._waiting.popleft())
            if job.tries:
                break
        if not jobs:
            return False
        self._works += 1
        sizes, parts = pack([self._codec.encode(job.question) for job in jobs])
        session.told += 1
        work = Work(session=session.id, seq=session.told, work=self._works, sizes=sizes)
        session.works[self._works] = (time.monotonic(), jobs)
        if self._entrance.send(session.peer, [*self._plain.encode(work), *parts]):
            return True
        self._drop(session, "it could not be reached")
        return False

    def _hand_on(self) -> None:
        """Put answers into the queue for the next group, each item's in order, as far as there is room."""
        for item, lane in list(self._lanes.items()):
            while lane and lane[0].done:
                message = lane[0].answer
                if message is not None and self._cancelled.useless(message):
                    self._meter.drop("obsolete")
                elif message is not None and droppable(message):
                    push(self._queue, self._meter, message)
                elif message is not None:
                    if not self._queue.has_room(message):
                        break
                    self._queue.wait(message)
                self._finished([lane.popleft().delivery])
            if not lane:
                del self._lanes[item]

    def _received(self, peer: bytes, host: str, parts: list[Part]) -> None:
        session = self._sessions.get(peer)
        try:
            said = self._plain.decode(parts[:1])
            if isinstance(said, Knock):
                self._let_in(peer, host, said, parts)
            else:
                self._hear(peer, host, said, parts[1:])
        except CodecError as error:
            kind = "oversized" if isinstance(error, Oversized) else "malformed"
            self._meter.count(f"network_{kind}")
            _log.warning("from the host %s: %s", host, error)
            if session is not None and session.host == host:
                self._drop(session, f"what it said is {kind}: {error}")
            else:
                self._entrance.send(peer, list(self._plain.encode(Refused(reason=str(error)))))

    def _let_in(self, peer: bytes, host: str, knock: Knock, parts: list[Part]) -> None:
        if peer in self._sessions or len(parts) != 1:
            raise CodecError("a second knock in one connection, or one with more parts")
        if len(self._sessions) >= MAX_SESSIONS:
            self._entrance.send(peer, list(self._plain.encode(Refused(reason="there are too many workers"))))
            return
        session = self._sessions[peer] = _Session(peer, host, knock.pid)
        duty = self._duty
        task = Task(
            session=session.id,
            stage=duty.group.stages[0],
            config=mentioned(duty.config),
            models=duty.models,
            heartbeat=self._config.heartbeat,
        )
        self._send(session, task)

    def _hear(self, peer: bytes, host: str, said: Said, parts: list[Part]) -> None:
        session = self._sessions.get(peer)
        if session is None or said.session != session.id or session.host != host or said.seq <= session.said:
            # It was said before, in this session or in one that is over. Who is still there will knock again.
            self._meter.count("network_replayed" if session is not None else "network_stray")
            if session is None:
                self._entrance.send(peer, list(self._plain.encode(Refused(reason="this session is over"))))
            return
        if said.seq != session.said + 1 or (parts and not isinstance(said, Answer)):
            raise CodecError(f"its message {said.seq} came after {session.said}, or with parts that belong to none")
        session.said, session.heard = said.seq, time.monotonic()
        if isinstance(said, Answer):
            self._answered(session, said, parts)
        elif isinstance(said, Able):
            self._able(session, said.models)
        elif isinstance(said, Unable):
            self._drop(session, said.reason)

    def _able(self, session: _Session, models: Mapping[str, str]) -> None:
        for kind, wanted in self._duty.models.items():
            if models.get(kind) != wanted:
                self._meter.count("network_other_model")
                have = models.get(kind, "none")
                self._drop(
                    session, f"its {kind} is {have}, and that of the main machine is {wanted}: they must be the same"
                )
                return
        if not session.able:
            session.able = True
            self._report(session.host, True, "")

    def _answered(self, session: _Session, said: Answer, parts: list[Part]) -> None:
        if said.work not in session.works:
            self._meter.count("network_replayed")
            return
        _, jobs = session.works[said.work]
        found = answers(self._codec, said.sizes, parts, [job.question for job in jobs])
        items = {item_of(job.question) for job in jobs}
        del session.works[said.work]
        session.finished += len(jobs)
        for job, answer in zip(jobs, found, strict=True):
            job.answer, job.done = answer, True
            if isinstance(answer, Detections) and answer.origin.live:
                self._intake.analysed(answer)
        self._counted |= said.counts.keys()
        if len(self._counted) <= MAX_COUNTERS:
            for name, count in said.counts.items():
                self._meter.count(name, count)
        for item in items.intersection(said.noticed):
            self._notice(item)

    def _drop(self, session: _Session, reason: str) -> None:
        """End a session; what it had goes to the next worker, oldest first."""
        self._sessions.pop(session.peer, None)
        self._send(session, Refused(reason=reason[:2000]))
        self._meter.count("network_left")
        for _, jobs in reversed(session.works.values()):
            for job in reversed(jobs):
                self._again(job, session.host, reason)
        self._report(session.host, False, reason)

    def _again(self, job: _Job, host: str, reason: str) -> None:
        job.tries += 1
        if job.tries < MAX_TRIES:
            self._waiting.appendleft(job)
        elif droppable(job.question):
            self._meter.count("network_given_up")
            job.done = True
        else:
            raise WorkerFailed(
                f"{MAX_TRIES} workers of other hosts went away with one message; the last, {host}: {reason}"
            )

    def _send(self, session: _Session, message: Task | Alive | Refused) -> bool:
        return self._entrance.send(session.peer, list(self._plain.encode(message)))

    def _look_round(self) -> None:
        """Some connection ended: find out whose, which ZeroMQ does not tell."""
        for session in list(self._sessions.values()):
            session.told += 1
            if not self._send(session, Alive(session=session.id, seq=session.told)):
                self._drop(session, "the connection ended")

    def _look(self) -> None:
        """Every heartbeat: show that this side lives, and notice who does not."""
        now, beat = time.monotonic(), self._config.heartbeat
        paused = now - self._last_look > 3 * beat
        self._last_look = now
        for session in list(self._sessions.values()):
            if paused:  # this process itself stood still
                session.heard = now
            oldest = next(iter(session.works.values()), (now, []))[0]
            if now - session.heard > SILENT_BEATS * beat:
                self._drop(session, f"gave no sign of life for {now - session.heard:.1f} s")
            elif now - oldest > self._config.hang_after:
                self._drop(session, f"did not answer for {now - oldest:.1f} s")
        self._look_round()
