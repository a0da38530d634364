"""Small stages for the tests, built in the worker processes by `toys:build`.

What a decode does is written in the item's address, so that each test says on one line what happens.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec import structs

from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import (
    Boxes,
    Chips,
    Detections,
    Embedded,
    Face,
    Frame,
    Item,
    ItemDone,
    ItemEnd,
    Message,
    Names,
    Origin,
    Preview,
    Sighting,
    SourceState,
    Spotted,
    Tracked,
    TrackedFace,
    Who,
)

FACE = Face(box=(1, 2, 3, 4), landmarks=((1, 1), (2, 1), (1.5, 2), (1, 3), (2, 3)), score=0.9)
LOOK = TrackedFace(face=FACE, track=0, quality=0.5)


def options(address: str) -> dict[str, str]:
    """`frames=3,die=detect` as a dictionary."""
    return dict(part.split("=", 1) for part in address.split(",") if part)


def once(flag: str) -> bool:
    """Whether this is the first call with this file name, over all processes."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Toy:
    name = "toy"

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self, context) -> None:
        self.context = context

    def close(self) -> None:
        pass

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        for message in batch:
            if self.wished("die", message):
                os.kill(os.getpid(), signal.SIGKILL)
            if self.wished("hang", message):
                time.sleep(600)
            yield from self.one(message)

    def wished(self, what: str, message: Message) -> bool:
        """`die=<stage>` in an item's label: this stage dies on it each time; `die1=<stage>:<flag file>`: once.

        `die=always`: `store` dies even on its refusal, which no other stage's death lets it do.
        """
        about = message if isinstance(message, Item) else getattr(message, "origin", None)
        wish = options(getattr(about, "label", None) or "")
        if wish.get(what) == "always":
            return self.name == "store"
        if isinstance(message, ItemEnd) and message.refused:
            return False
        if wish.get(what) == self.name:
            return True
        stage, _, flag = wish.get(f"{what}1", "").partition(":")
        return stage == self.name and once(flag)


class Decode(Toy):
    name = "decode"

    def one(self, item: Item) -> Iterator[Message]:
        wish = options(item.address)
        size = int(wish.get("size", 8))
        self.context.count("items", 1)
        if item.live:
            self.context.report(SourceState(item=item.item, source=item.source, state="connected"))
        seq, sent = 0, 0
        while (
            (seq < int(wish.get("frames", 1)))
            if not item.live
            else not self.context.stopping.wait(float(wish.get("every", 0.01)))
        ):
            pixels = np.full((size, size, 3), (item.item * 7 + seq) % 256, np.uint8)
            pixels[0, 0] = seq % 251
            yield Frame(origin=self.origin(item, seq), image=Image(pixels))
            seq += 1
            sent += 1
        yield ItemEnd(origin=self.origin(item, seq), frames=sent, faces=sent)

    def origin(self, item: Item, seq: int) -> Origin:
        return Origin(
            item=item.item,
            attempt=item.attempt,
            source=item.source,
            seq=seq,
            live=item.live,
            time=time.time(),
            label=item.label,
            still=item.kind == "photo",
        )


class Detect(Toy):
    name = "detect"

    def one(self, message: Message) -> Iterator[Message]:
        if isinstance(message, Frame):
            slow = options(message.origin.label or "").get("slow")
            if slow:
                time.sleep(float(slow))
            yield Detections(origin=message.origin, image=message.image, faces=(FACE,))
        else:
            yield message


class Track(Toy):
    name = "track"

    def open(self, context) -> None:
        super().open(context)
        self.last: dict[tuple[int, int], int] = {}

    def one(self, message: Message) -> Iterator[Message]:
        if isinstance(message, Detections):
            key = (message.origin.item, message.origin.attempt)
            if self.last.get(key, -1) >= message.origin.seq:
                raise AssertionError(f"out of order: {message.origin.seq} after {self.last[key]}")
            self.last[key] = message.origin.seq
            yield Tracked(origin=message.origin, image=message.image, faces=(LOOK,))
        else:
            yield message


class Align(Toy):
    name = "align"

    def one(self, message: Message) -> Iterator[Message]:
        if isinstance(message, Tracked):
            value = (message.origin.item * 7 + message.origin.seq) % 256
            pixels = message.image.array
            if not (pixels[-1] == value).all() or pixels[0, 0, 0] != message.origin.seq % 251:
                raise AssertionError(f"another picture than that of frame {message.origin.seq}")
            chips = np.full((1, 112, 112, 3), zlib.crc32(pixels) & 255, np.uint8)
            yield Chips(origin=message.origin, faces=message.faces, chips=chips)
        else:
            yield message


class Embed(Toy):
    name = "embed"

    def one(self, message: Message) -> Iterator[Message]:
        if isinstance(message, Chips):
            vectors = np.full((1, 4), 0.5, np.float32)
            yield Embedded(origin=message.origin, faces=message.faces, chips=message.chips, vectors=vectors)
        else:
            yield message


class Store(Toy):
    """Keeps nothing, but answers as the real one: done once all faces of an attempt are there."""

    name = "store"

    def open(self, context) -> None:
        super().open(context)
        self.seen: dict[tuple[int, int], int] = {}

    def one(self, message: Message) -> Iterator[Message]:
        key = (message.origin.item, message.origin.attempt)
        origin = message.origin
        if isinstance(message, Embedded):
            self.seen[key] = self.seen.get(key, 0) + 1
        elif isinstance(message, ItemEnd):
            have = self.seen.pop(key, 0)
            self.context.count("refused" if message.refused else "ends", 1)
            status = "refused" if message.refused else "done" if have == message.faces else "retry"
            yield ItemDone(
                item=key[0], attempt=key[1], source=origin.source, status=status, faces=have, reason=message.refused
            )


class Match(Toy):
    """A sighting for every face."""

    name = "match"

    def one(self, message: Message) -> Iterator[Message]:
        origin = message.origin
        if isinstance(message, Embedded):
            yield Sighting(
                item=origin.item,
                source=origin.source,
                time=origin.time,
                position=None,
                track=origin.seq,
                identity=None,
                name=None,
                similarity=None,
                box=(0, 0, 1, 1),
            )
        elif isinstance(message, ItemEnd):
            status = "refused" if message.refused else "done"
            yield ItemDone(item=origin.item, attempt=origin.attempt, source=origin.source, status=status)


class LateMatch(Match):
    """Opens when the file named by TOYS_FRAME is there, at the latest after TOYS_WAIT seconds; `position` of its sightings
    is how many seconds later than that their frame is."""

    def open(self, context) -> None:
        super().open(context)
        limit = time.monotonic() + float(os.environ["TOYS_WAIT"])
        while not Path(os.environ["TOYS_FRAME"]).exists() and time.monotonic() < limit:
            time.sleep(0.01)
        self.opened = time.time()

    def one(self, message: Message) -> Iterator[Message]:
        for answer in super().one(message):
            yield (
                structs.replace(answer, position=answer.time - self.opened) if isinstance(answer, Sighting) else answer
            )


class FlaggedDecode(Decode):
    """Gives the first frame of an item, then makes the file named by TOYS_FRAME; of a camera nothing more comes."""

    def one(self, item: Item) -> Iterator[Message]:
        for message in super().one(item):
            yield message
            once(os.environ["TOYS_FRAME"])
            if item.live:
                self.context.stopping.wait()


class ShownDecode(Decode):
    """Shows whoever looks at it a picture for each frame, in which stands whether frames are made for nobody."""

    def one(self, item: Item) -> Iterator[Message]:
        for message in super().one(item):
            yield message
            lease = self.context.audience.of(item.item)
            if isinstance(message, Frame) and lease is not None and not lease.veiled:
                full, awake = lease.asked, lease.awake
                self.context.show(preview(message.origin, b"awake" if awake else b"decoded", full=full))
                if full:
                    lease.given()


class ShownTrack(Track):
    """Shows where the face is, and veiled pictures, in which stands whose faces may be seen."""

    def one(self, message: Message) -> Iterator[Message]:
        yield from super().one(message)
        lease = self.context.audience.of(message.origin.item)
        if not isinstance(message, Detections) or lease is None:
            return
        origin, face = message.origin, Spotted(track=0, box=FACE.box, score=FACE.score)
        self.context.show(Boxes(item=origin.item, time=origin.time, width=8, height=8, faces=(face,)))
        if lease.veiled:
            self.context.show(preview(origin, repr(sorted(lease.clear)).encode(), veiled=True))


class ShownMatch(Match):
    """Knows the face."""

    def one(self, message: Message) -> Iterator[Message]:
        yield from super().one(message)
        if isinstance(message, Embedded) and self.context.audience.of(message.origin.item) is not None:
            anna = Who(track=0, identity=7, name="Anna", similarity=0.6, clear=True)
            self.context.show(Names(item=message.origin.item, people=(anna,)))


def preview(origin: Origin, jpeg: bytes, **given: bool) -> Preview:
    return Preview(item=origin.item, time=origin.time, width=8, height=8, jpeg=jpeg, **given)


def build_shown(name: str, config: Config):
    """A factory whose cameras can be looked at."""
    return {"decode": ShownDecode, "track": ShownTrack, "match": ShownMatch}.get(name, STAGES[name])(config)


def build_late(name: str, config: Config):
    """A factory whose match opens late."""
    return {"decode": FlaggedDecode, "match": LateMatch}.get(name, STAGES[name])(config)


STAGES = {stage.name: stage for stage in (Decode, Detect, Track, Align, Embed, Store, Match)}


def build(name: str, config: Config):
    """The factory."""
    return STAGES[name](config)


def models(name: str, config: Config) -> dict[str, str]:
    """What the machines have to have in common."""
    return {"embedder": config.models.embedder} if name == "embed" else {}


class Cameras(Decode):
    """Watches all live items of a process together, as the real one: those that join it, until they are to leave."""

    def process(self, batch: Sequence[Message]) -> Iterator[Message]:
        watched = {item.item: [item, 0] for item in batch if isinstance(item, Item)}
        while watched and not self.context.stopping.wait(0.01):
            for message in self.context.arrivals():
                if isinstance(message, Item):
                    watched[message.item] = [message, 0]
                elif message.item in watched:
                    item, seq = watched.pop(message.item)
                    yield ItemEnd(origin=self.origin(item, seq), frames=seq)
            for entry in watched.values():
                item, seq = entry
                if self.wished("die", item):
                    os.kill(os.getpid(), signal.SIGKILL)
                pixels = np.full((8, 8, 3), (item.item * 7 + seq) % 256, np.uint8)
                pixels[0, 0] = seq % 251
                yield Frame(origin=self.origin(item, seq), image=Image(pixels))
                entry[1] += 1
        for item, seq in watched.values():
            yield ItemEnd(origin=self.origin(item, seq), frames=seq)


def build_cameras(name: str, config: Config):
    """A factory whose decode watches several cameras."""
    return Cameras(config) if name == "decode" else build(name, config)


class Unopenable(Decode):
    def open(self, context) -> None:
        raise FileNotFoundError("the model yunet is not here; run `vultus models pull`")


class SlowToOpen(Decode):
    """The first one never gets its stages open; the file named by TOYS_FRAME tells the others."""

    def open(self, context) -> None:
        super().open(context)
        if once(os.environ["TOYS_FRAME"]):
            time.sleep(600)


def build_slow(name: str, config: Config):
    """A factory whose first decode does not open."""
    return SlowToOpen(config) if name == "decode" else build(name, config)


class Breaking(Match):
    """Cannot be opened while the file named by TOYS_FRAME is there."""

    def open(self, context) -> None:
        if os.path.exists(os.environ["TOYS_FRAME"]):
            raise OSError("the database is away")
        super().open(context)


def build_breaking(name: str, config: Config):
    """A factory whose match needs something that may be away."""
    return Breaking(config) if name == "match" else build(name, config)


class Blabbing(Decode):
    def open(self, context) -> None:
        address = "rtsp://me:hun/ter2@camera/x?user=me&pwd=hunter2"
        print("x" * 1990, address, file=sys.stderr)
        raise OSError(f"cannot open {address}; {len(self.config.sources)} sources are known here")


def build_blabbing(name: str, config: Config):
    """A factory whose decode prints passwords."""
    return Blabbing(config) if name == "decode" else build(name, config)


def build_unopenable(name: str, config: Config):
    """A factory whose decode cannot be opened."""
    return Unopenable(config) if name == "decode" else build(name, config)
