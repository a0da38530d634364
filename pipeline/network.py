"""What the main machine and the workers of other hosts say to each other, and the bounds of it.

A session begins with `Knock` and `Task`. From then on each side numbers what it says, from 1 on without gaps, and names the
session, so that nothing counts twice, whoever sends it again. Work is a batch of messages in the form of `codec`, one after
another in the parts behind the first; an answer has one message for each, in order. Pictures and chips of an answer are
those of the message that it answers, so they do not travel back.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from vultus.configs.schema import Config, StageName
from vultus.pipeline.codec import MAX_BODY_BYTES, MAX_PARTS, Codec, Part
from vultus.pipeline.errors import CodecError
from vultus.pipeline.messages import Chips, Count, Detections, Embedded, Frame, Message, TrackedFace

MAX_PART_TO_MAIN = 16 << 20
"""Bytes of a part beyond which ZeroMQ itself hangs up on a worker: answers hold vectors and boxes, no pictures."""
MAX_WORK = 1024
WORK_BYTES = 32 << 20
"""Pictures that go into one batch; a larger one goes alone."""
WORKS_AHEAD = 2
"""Batches that a worker has at once: one to work on, and one that is on its way meanwhile."""
_FACE_BYTES = 4 * 4096
"""Of a vector, at most."""
_UNIT = 1e-3
"""How far a vector's length may be from 1."""

Session = Annotated[bytes, Meta(min_length=16, max_length=16)]
Words = Annotated[str, Meta(max_length=2000)]
CounterName = Annotated[str, Meta(pattern="^(?!network_)[a-z_]{1,40}$")]
"""What a stage counts; not what the door does."""
Sizes = Annotated[tuple[Annotated[int, Meta(ge=1, le=MAX_PARTS)], ...], Meta(min_length=1, max_length=MAX_WORK)]


class Knock(Struct, frozen=True, kw_only=True, tag_field="type", tag="knock"):
    """Worker → main, first: who asks for a task."""

    pid: Count


class Said(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Root of what is said in a session."""

    session: Session
    seq: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]


class Able(Said, frozen=True, kw_only=True, tag="able"):
    """Worker → main: the stage is open, with these models."""

    models: dict[str, str]


class Unable(Said, frozen=True, kw_only=True, tag="unable"):
    """Worker → main, its last words: the stage could not be opened, or raised."""

    reason: Words


class Answer(Said, frozen=True, kw_only=True, tag="answer"):
    """Worker → main: what became of a batch; its messages follow in further parts."""

    work: Count
    sizes: Sizes
    """Parts of each message."""
    counts: Annotated[dict[CounterName, Annotated[int, Meta(ge=0, le=1 << 32)]], Meta(max_length=64)] = {}
    """What the stage counted meanwhile."""
    noticed: Annotated[tuple[Count, ...], Meta(max_length=MAX_WORK)] = ()
    """Cameras that show faces, by item."""


class Alive(Said, frozen=True, kw_only=True, tag="alive"):
    """Either way, every `heartbeat` seconds."""


class Task(Struct, frozen=True, kw_only=True, tag_field="type", tag="task"):
    """Main → worker, in answer to `Knock`: what there is to do."""

    session: Session
    stage: StageName
    config: Config
    """Only what decides the stage's answers; nothing of sources, galleries or keys."""
    models: dict[str, str]
    """By kind, the fingerprints of the main machine's models."""
    heartbeat: Annotated[float, Meta(gt=0.0, le=3600.0)]


class Work(Said, frozen=True, kw_only=True, tag="work"):
    """Main → worker: a batch; its messages follow in further parts."""

    work: Count
    sizes: Sizes


class Refused(Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """Main → worker: this session is over, and why."""

    reason: Words


ToMain = Knock | Able | Unable | Answer | Alive
ToHost = Task | Work | Alive | Refused


class Oversized(CodecError):
    """A message that is larger than any true one."""


def pack(messages: Sequence[list[Part]]) -> tuple[tuple[int, ...], list[Part]]:
    """How many parts each message has, and all of them in a row."""
    return tuple(map(len, messages)), [part for parts in messages for part in parts]


def unpack(sizes: Sizes, parts: Sequence[Part]) -> list[Sequence[Part]]:
    """The parts of each message; raises CodecError if there are more or fewer."""
    if sum(sizes) != len(parts):
        raise CodecError(f"messages of {sum(sizes)} parts, and {len(parts)} came")
    found, first = [], 0
    for size in sizes:
        found.append(parts[first : first + size])
        first += size
    return found


def answers(codec: Codec, sizes: Sizes, parts: Sequence[Part], asked: Sequence[Message]) -> list[Message]:
    """The messages of an answer to `asked`; raises CodecError unless each is just what its question asks for."""
    check_size(parts, asked)
    if len(sizes) != len(asked):
        raise CodecError(f"{len(sizes)} answers to {len(asked)} messages")
    found: list[Message] = []
    for question, some in zip(asked, unpack(sizes, parts), strict=True):
        answer = codec.decode(some, asked=question)
        check_answer(question, answer)
        found.append(answer)
    return found


def check_size(parts: Sequence[Part], asked: Sequence[Message]) -> None:
    """Raise Oversized for parts that are more than an answer to `asked` can take."""
    faces = sum(len(message.faces) for message in asked if isinstance(message, Chips))
    most = len(asked) * MAX_BODY_BYTES + faces * _FACE_BYTES
    if sum(map(len, parts)) > most or max(map(len, parts), default=0) > max(MAX_BODY_BYTES, faces * _FACE_BYTES):
        raise Oversized(f"an answer of {sum(map(len, parts))} bytes to {len(asked)} messages")


def check_answer(asked: Message, answer: Message) -> None:
    """Raise CodecError if `answer` is not about `asked`, or holds numbers that are none."""
    if isinstance(asked, Frame) and isinstance(answer, Detections):
        numbers = [value for face in answer.faces for value in (*face.box, *sum(face.landmarks, ()), face.score)]
        fits = answer.image is asked.image and bool(np.isfinite(numbers).all())
    elif isinstance(asked, Chips) and isinstance(answer, Embedded):
        same = answer.chips is asked.chips and answer.alive == asked.alive
        fits = same and _same_faces(asked.faces, answer.faces) and _unit(answer.vectors)
    else:
        fits = False
    if not fits or answer.origin != asked.origin:  # type: ignore[attr-defined]
        raise CodecError(f"a {type(answer).__name__} that is no answer to the {type(asked).__name__} that was asked")


def _same_faces(asked: Sequence[TrackedFace], answer: Sequence[TrackedFace]) -> bool:
    """Whether these are the same faces; with some models their quality is the embedder's to say."""
    if len(asked) != len(answer):
        return False
    pairs = zip(asked, answer, strict=True)
    return all(
        (one.face, one.track, one.found) == (other.face, other.track, other.found)
        and 0.0 <= other.quality <= 1.0
        and (other.magnitude is None or isfinite(other.magnitude))
        for one, other in pairs
    )


def _unit(vectors: npt.NDArray[np.float32]) -> bool:
    """Whether each is of length 1, or of 0, which is like nobody."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
        return bool(((np.abs(lengths - 1.0) <= _UNIT) | (lengths == 0.0)).all())


def mentioned(config: Config) -> Config:
    """What another host has to know of a configuration."""
    return Config(models=config.models, detect=config.detect, embed=config.embed)
