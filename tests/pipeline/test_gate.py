"""The door to other hosts, spoken to by hand: what is malformed, too large, said before or nobody's stays outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from hosts import Machines
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vultus.pipeline import keys
from vultus.pipeline.codec import WIRE_VERSION, Codec, PlainCodec
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.frames import FrameReader
from vultus.pipeline.gate import MAX_TRIES, Duty, Gate
from vultus.pipeline.hop import Delivery
from vultus.pipeline.intake import Cancelled, Intake
from vultus.pipeline.messages import Chips, Embedded, Face, ItemEnd, Message, Origin, TrackedFace
from vultus.pipeline.metrics import Meter
from vultus.pipeline.network import (
    MAX_PART_TO_MAIN,
    Able,
    Alive,
    Answer,
    Knock,
    Task,
    ToHost,
    Unable,
    Work,
    pack,
    unpack,
)
from vultus.pipeline.queues import FairQueue, Inbox
from vultus.pipeline.transport import Loop

FACE = TrackedFace(
    face=Face(box=(1, 2, 3, 4), landmarks=((1, 1), (2, 1), (1.5, 2), (1, 3), (2, 3)), score=0.9), track=0, quality=0.5
)

OTHER = msgspec.structs.replace(FACE, track=8)


def chips(seq: int, item: int = 0, live: bool = False) -> Chips:
    origin = Origin(item=item, attempt=0, source="s", seq=seq, live=live, time=time.time())
    return Chips(origin=origin, faces=(FACE,), chips=np.full((1, 112, 112, 3), seq, np.uint8))


def embedded(question: Chips, vectors: Any = None) -> Embedded:
    """As a model that knows better how well a face can be recognised."""
    faces = tuple(msgspec.structs.replace(face, quality=0.9, magnitude=24.0) for face in question.faces)
    vectors = np.full((1, 4), 0.5, np.float32) if vectors is None else vectors
    return Embedded(origin=question.origin, faces=faces, chips=question.chips, vectors=vectors)


class Door:
    """A gate without the rest of its process."""

    def __init__(self, machines: Machines) -> None:
        self.loop, self.inbox, self.meter = Loop(), Inbox[Delivery](), Meter()
        self.queue = FairQueue(64, self.loop.wake)
        self.finished: list[Delivery] = []
        self.reports: list[tuple[str, bool, str]] = []
        self.noticed: list[int] = []
        cancelled = Cancelled()
        group = machines.group("embed", max_batch=2)
        self.gate = Gate(
            self.loop,
            Duty(config=machines.config, group=group, keys=keys.read(machines.main), models={"embedder": "e-1"}),
            intake=Intake(FrameReader(), self.meter, cancelled, 1.0),
            inbox=self.inbox,
            queue=self.queue,
            meter=self.meter,
            cancelled=cancelled,
            finished=self.finished.extend,
            notice=self.noticed.append,
            report=lambda *told: self.reports.append(told),
        )

    def give(self, *messages: Message) -> None:
        for message in messages:
            self.inbox.put(Delivery("sender", [bytes(part) for part in Codec().encode(message)]))

    def until(self, done: Callable[[], object], within: float = 5.0) -> None:
        end = time.monotonic() + within
        self.loop._running = True

        def turn() -> None:
            assert time.monotonic() < end, "that did not come"
            self.gate.pump()
            if done():
                self.loop.stop()
            self.loop.after(0.02, lambda: None)

        self.loop.run(turn)

    @property
    def counts(self) -> dict[str, int]:
        return self.meter.snapshot(waiting=0, queued=0, lent=0).counts

    def taken(self) -> list[Message]:
        found: list[Message] = []
        self.queue.hand_out(lambda message: found.append(message) is None)
        return found


class Peer:
    """A worker in the test's own words."""

    def __init__(self, door: Door, machines: Machines, key: Path | None) -> None:
        self.door, self.codec, self.plain = door, Codec(), PlainCodec[Any](ToHost)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if key is not None:
            own = keys.read(key)
            self.socket.curve_serverkey = machines.config.network.main_key.encode()
            self.socket.curve_publickey, self.socket.curve_secretkey = own.public.encode(), own.secret.encode()
        self.socket.connect(machines.listen)
        self.session, self.seq = b"", 0

    def say(self, message: msgspec.Struct, *parts: Any) -> None:
        self.raw([*self.plain.encode(message), *parts])

    def raw(self, parts: list[Any]) -> None:
        self.socket.send_multipart(parts)

    def next(self) -> dict[str, Any]:
        self.seq += 1
        return {"session": self.session, "seq": self.seq}

    def hear(self) -> tuple[Any, list[bytes]]:
        """The next thing said that is no sign of life."""
        while True:
            self.door.until(lambda: self.socket.poll(0))
            parts = self.socket.recv_multipart()
            said = self.plain.decode(parts[:1])
            if not isinstance(said, Alive):
                return said, parts[1:]

    def begin(self, models: dict[str, str] | None = None) -> Peer:
        self.say(Knock(pid=1))
        task, _ = self.hear()
        assert isinstance(task, Task)
        assert task.config.sources == ()
        self.session, self.seq = task.session, 0
        self.say(Able(**self.next(), models=models or {"embedder": "e-1"}))
        return self

    def work(self) -> tuple[Work, list[Chips]]:
        said, parts = self.hear()
        assert isinstance(said, Work), said
        return said, [self.codec.decode(some) for some in unpack(said.sizes, parts)]

    def answer(self, work: Work, questions: list[Chips], **more: Any) -> list[Any]:
        packed = [self.codec.encode(embedded(question), asked=question) for question in questions]
        sizes, parts = pack(packed)
        body = self.plain.encode(
            Answer(**{**self.next(), **more.pop("instead", {})}, work=work.work, sizes=sizes, **more)
        )
        return [*body, *parts]

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


@pytest.fixture
def door(machines: Machines) -> Iterator[Door]:
    door = Door(machines)
    with door.loop:
        yield door
        door.gate.close()


@pytest.fixture
def peers(door: Door, machines: Machines) -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(key: Path | None = machines.attic) -> Peer:
        made.append(Peer(door, machines, key))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


def test_answers_leave_in_the_order_of_their_item(door: Door, peers: Callable[..., Peer]) -> None:
    end = ItemEnd(origin=chips(9).origin, frames=4, faces=4)
    one, other = peers().begin(), peers().begin()
    door.until(lambda: len(door.reports) == 2)
    door.give(*(chips(seq) for seq in range(4)), end)
    works = [(peer, *peer.work()) for peer in (one, one)]
    assert [[each.origin.seq for each in questions] for _, _, questions in works] == [[0, 1], [2, 3]]
    for peer, work, questions in reversed(works):
        assert not door.taken()
        peer.raw(peer.answer(work, questions, counts={"faces": 2}, noticed=(0, 77)))
        door.until(lambda: door.counts.get("faces", 0) >= 2)
    door.until(lambda: len(door.finished) == 5)
    assert [message.origin.seq for message in door.taken()] == [0, 1, 2, 3, 9]
    assert set(door.noticed) == {0}, "of cameras that the work was not about nothing is believed"
    assert other.session != one.session
    assert [remote.finished for remote in door.gate.remotes] in ([4, 0], [0, 4])


@pytest.mark.parametrize("key", ["none", "unknown"])
def test_without_a_permitted_key_nothing_gets_in(
    door: Door, peers: Callable[..., Peer], tmp_path: Path, key: str
) -> None:
    if key == "unknown":
        keys.create(tmp_path / "stranger.key")
    peer = peers(None if key == "none" else tmp_path / "stranger.key")
    peer.say(Knock(pid=1))
    door.give(chips(0))
    door.until(lambda: door.counts.get("network_denied", 0) >= 1)
    assert door.gate.remotes == ()
    assert not peer.socket.poll(50), "nothing got out either"
    peers().begin().work()


def test_what_was_said_before_does_not_count_again(door: Door, peers: Callable[..., Peer]) -> None:
    peer = peers().begin()
    door.give(chips(0), chips(1), chips(2))
    work, questions = peer.work()
    said = peer.answer(work, questions)
    for _ in range(3):
        peer.raw(said)
    peer.raw(peer.answer(work, questions))  # the same work in a new message
    peer.raw(peer.answer(work, questions, instead={"session": bytes(16)}))
    door.until(lambda: door.counts.get("network_replayed") == 4)
    work, questions = peer.work()
    peer.seq -= 1
    peer.raw(peer.answer(work, questions))
    door.until(lambda: len(door.finished) == 3)
    assert [message.origin.seq for message in door.taken()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ("no msgpack", "malformed"), ("a gap", "malformed"), ("knock again", "malformed"), ("another version", "malformed"),
        ("one answer too few", "malformed"), ("parts too many", "malformed"), ("longer vectors", "malformed"),
        ("vectors that are none", "malformed"), ("another origin", "malformed"), ("an end instead", "malformed"),
        ("other faces", "malformed"), ("its own chips", "malformed"), ("a large part", "oversized"),
        ("counts of the door", "malformed"),
    ],
)  # fmt: skip
def test_who_says_what_does_not_fit_is_sent_away_and_another_does_the_work(
    door: Door, peers: Callable[..., Peer], wrong: str, kind: str
) -> None:
    peer = peers().begin()
    door.give(chips(0), chips(1))
    work, questions = peer.work()
    peer.raw(said(peer, work, questions, wrong))
    door.until(lambda: door.counts.get(f"network_{kind}") == 1)
    assert [came for _, came, _ in door.reports] == [True, False]
    assert not door.taken()
    other = peers().begin()
    for seq in (0, 1):  # each alone, since one of them may be to blame
        work, questions = other.work()
        assert [question.origin.seq for question in questions] == [seq]
        other.raw(other.answer(work, questions))
    door.until(lambda: len(door.finished) == 2)
    assert [message.origin.seq for message in door.taken()] == [0, 1]


def said(peer: Peer, work: Work, questions: list[Chips], wrong: str) -> list[Any]:
    def answer(*answers: Message) -> list[Any]:
        sizes, parts = pack(
            [peer.codec.encode(one, asked=asked) for one, asked in zip(answers, questions, strict=False)]
        )
        return [*peer.plain.encode(Answer(**peer.next(), work=work.work, sizes=sizes)), *parts]

    first, second = questions
    good = peer.answer(work, questions) if wrong == "parts too many" else []
    return {
        "no msgpack": lambda: [b"\xc1"],
        "a gap": lambda: peer.plain.encode(Alive(session=peer.session, seq=9)),
        "knock again": lambda: peer.plain.encode(Knock(pid=2)),
        "another version": lambda: [msgspec.msgpack.encode({"v": WIRE_VERSION + 1, "message": {"type": "knock", "pid": 1}})],
        "one answer too few": lambda: answer(embedded(first)),
        "parts too many": lambda: [*good, b"x"],
        "longer vectors": lambda: answer(embedded(first), embedded(second, np.ones((1, 4), np.float32))),
        "vectors that are none": lambda: answer(embedded(first), embedded(second, np.full((1, 4), np.nan, np.float32))),
        "another origin": lambda: answer(embedded(first), embedded(msgspec.structs.replace(second, origin=first.origin))),
        "an end instead": lambda: answer(embedded(first), ItemEnd(origin=second.origin)),
        "other faces": lambda: answer(embedded(first), msgspec.structs.replace(embedded(second), faces=(OTHER,))),
        "its own chips": lambda: answer(embedded(first), embedded(chips(1))),
        "a large part": lambda: [*peer.answer(work, questions)[:-1], bytes(MAX_PART_TO_MAIN - 64)],
        "counts of the door": lambda: peer.answer(work, questions, counts={"network_denied": 1}),
    }[wrong]()  # fmt: skip


def test_zeromq_itself_hangs_up_on_a_part_beyond_all_bounds(door: Door, peers: Callable[..., Peer]) -> None:
    peer = peers().begin()
    door.until(lambda: door.reports)
    peer.raw([bytes(MAX_PART_TO_MAIN + 1)])
    door.until(lambda: door.counts.get("network_left") == 1)
    peers().begin()
    door.until(lambda: len(door.gate.remotes) == 1 and door.gate.remotes[0].state == "working")


def test_another_model_is_refused_in_words(door: Door, peers: Callable[..., Peer]) -> None:
    peer = peers().begin({"embedder": "f-2"})
    door.give(chips(0))
    refused, _ = peer.hear()
    assert "its embedder is f-2, and that of the main machine is e-1" in refused.reason
    assert door.counts["network_other_model"] == 1


def test_what_nobody_survives_is_given_back_and_of_a_camera_given_up(door: Door, peers: Callable[..., Peer]) -> None:
    door.give(chips(0, item=1, live=True))
    for _ in range(MAX_TRIES):
        peer = peers().begin()
        peer.work()
        peer.say(Unable(**peer.next(), reason="RuntimeError: it hurts"))
        peer.hear()
    door.until(lambda: len(door.finished) == 1)
    assert not door.taken()
    assert door.counts["network_given_up"] == 1
    door.give(chips(0, item=2))
    for _ in range(MAX_TRIES - 1):
        peer = peers().begin()
        peer.work()
        peer.say(Unable(**peer.next(), reason="RuntimeError: it hurts"))
        peer.hear()
    peer = peers().begin()
    peer.work()
    peer.say(Unable(**peer.next(), reason="RuntimeError: it hurts"))
    with pytest.raises(WorkerFailed, match="it hurts"):
        peer.hear()


@pytest.mark.slow
def test_a_worker_that_falls_silent_is_gone(door: Door, peers: Callable[..., Peer]) -> None:
    peers().begin()
    door.until(lambda: door.reports)
    door.until(lambda: len(door.reports) == 2)
    assert "no sign of life" in door.reports[1][2]


def session_bytes() -> list[list[bytes]]:
    """What a worker truly says, its session all zeros."""
    question, plain, codec = chips(0), PlainCodec[Any](ToHost), Codec()
    sizes, parts = pack([codec.encode(embedded(question), asked=question)])
    head = {"session": bytes(16)}
    return [
        [bytes(part) for part in [*plain.encode(message), *more]]
        for message, more in (
            (Knock(pid=1), []),
            (Able(**head, seq=1, models={"embedder": "e-1"}), []),
            (Answer(**head, seq=2, work=1, sizes=sizes, counts={"faces": 1}, noticed=(0,)), parts),
            (Alive(**head, seq=2), []),
            (Unable(**head, seq=2, reason="no"), []),
        )
    ]


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    parts = [bytearray(part) for part in draw(st.sampled_from(session_bytes()))]
    for _ in range(draw(st.integers(0, 3))):
        part = draw(st.sampled_from(parts))
        at = draw(st.integers(0, len(part)))
        part[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), bytearray(draw(st.binary(max_size=64))))
    return [bytes(part) for part in parts[: draw(st.integers(0, 6))]]


@settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(mutated(), min_size=1, max_size=4))
@example([[b""]])
@example([[]])
def test_nothing_that_is_said_ends_the_gate(door: Door, sequence: list[list[bytes]]) -> None:
    """A permitted host says anything: the gate goes on, and gives on nothing but true answers."""
    gate = door.gate
    for session in list(gate._sessions.values()):
        gate._drop(session, "the next example")
    gate.forget()
    door.give(chips(0))
    knock, able, *_ = session_bytes()
    gate._received(b"peer", "attic", knock)
    gate._sessions[b"peer"].id = bytes(16)
    gate._received(b"peer", "attic", able)
    gate.pump()
    for parts in sequence:
        gate._received(b"peer", "attic", parts)
        gate.pump()
    for message in door.taken():
        assert isinstance(message, Embedded)
        assert message.chips[0, 0, 0, 0] == 0
        assert abs(float(np.linalg.norm(message.vectors)) - 1) < 1e-2
