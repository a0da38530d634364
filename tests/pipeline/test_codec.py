import random
import re
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import pytest

from vultus.pipeline.codec import MAX_BODY_BYTES, WIRE_VERSION, Codec, PlainCodec
from vultus.pipeline.control import Beat, Hello, HopMessage, Ready, ToSupervisor
from vultus.pipeline.errors import CodecError
from vultus.pipeline.frames import FrameReader, FrameRing, Image
from vultus.pipeline.messages import (
    Chips,
    Detections,
    Embedded,
    Face,
    Frame,
    Item,
    ItemDone,
    ItemEnd,
    Origin,
    Sighting,
    SourceState,
    Tracked,
    TrackedFace,
    WorkerState,
)
from vultus.pipeline.metrics import Counters
from vultus.pipeline.pixels import Layout

ORIGIN = Origin(item=7, attempt=1, source="door", seq=42, live=True, time=1753603200.5)
FACE = Face(box=(10.5, 20, 30, 40), landmarks=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10)), score=0.75)
LOOK = TrackedFace(face=FACE, track=3, quality=0.5)


def picture():
    return Image(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))


def messages():
    chips = np.arange(2 * 112 * 112 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 112, 112, 3)
    vectors = np.linspace(-1, 1, 2 * 128, dtype=np.float32).reshape(2, 128)
    return [
        Item(item=7, attempt=0, kind="camera", source="door", address="rtsp://u:p@h/", label="Ann"),
        Frame(origin=ORIGIN, image=picture()),
        Detections(origin=ORIGIN, image=picture(), faces=(FACE,)),
        Tracked(origin=ORIGIN, image=picture(), faces=(LOOK,)),
        Chips(origin=ORIGIN, faces=(LOOK, LOOK), chips=chips),
        Embedded(origin=ORIGIN, faces=(LOOK, LOOK), chips=chips, vectors=vectors),
        ItemEnd(origin=ORIGIN, frames=3, faces=2, digest=b"d" * 16, size=5, mtime_ns=6),
        ItemDone(item=7, attempt=1, source="door", status="refused", reason="no picture"),
        Sighting(
            item=7,
            source="door",
            time=1.5,
            position=None,
            track=3,
            identity=9,
            name="Ann",
            similarity=0.5,
            box=(1, 2, 3, 4),
        ),
        SourceState(item=7, source="door", state="lost", reason="timeout", retry_in=2.0),
        WorkerState(group="faces", worker=1, state="died", reason="killed"),
    ]


def plain(value):
    """A message as builtins, arrays as (dtype, shape, bytes), for comparing."""
    if isinstance(value, Image):
        value = value.array
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, [plain(getattr(value, name)) for name in value.__struct_fields__]
    return value


@pytest.mark.parametrize("message", messages(), ids=lambda message: type(message).__name__)
def test_every_message_arrives_as_it_was_sent(message):
    codec = Codec()
    parts = [bytes(part) for part in codec.encode(message)]
    assert plain(codec.decode(parts)) == plain(message)


def test_arrays_are_views_of_the_parts_and_read_only():
    codec = Codec()
    message = messages()[5]
    parts = codec.encode(message)
    arrived = codec.decode(parts)
    assert not arrived.chips.flags.writeable
    assert np.shares_memory(arrived.chips, message.chips), "neither way copied them"


def test_plain_msgpack_reads_every_message():
    for message in messages():
        body, *arrays = Codec().encode(message)
        read = msgpack.unpackb(body)
        assert read["v"] == WIRE_VERSION
        assert read["message"]["type"] == message.__struct_config__.tag
        if isinstance(message, Embedded):
            ref = read["message"]["vectors"]
            vectors = np.frombuffer(arrays[ref["part"] - 1], ref["dtype"]).reshape(ref["shape"])
            assert np.array_equal(vectors, message.vectors)


def test_plain_msgpack_writes_a_message():
    body = msgpack.packb(
        {
            "v": 2,
            "message": {
                "type": "frame",
                "from the future": [1, 2],
                "origin": {"item": 1, "attempt": 0, "source": "x", "seq": 0, "live": False, "time": 0.0},
                "image": {"part": 1, "shape": [2, 2, 3], "dtype": "|u1"},
            },
        }
    )
    frame = Codec().decode([body, bytes(range(12))])
    assert frame.image.array[1, 1].tolist() == [9, 10, 11]


def test_the_example_of_the_document_holds():
    """`docs/wire.md` shows one message byte by byte; here plain msgpack and the codec read those bytes."""
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    block = re.search(r"<!-- example -->\n```\n(.*?)```", text, re.DOTALL).group(1)
    body = bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))
    read = msgpack.unpackb(body)
    assert read["message"]["image"] == {"part": 1, "shape": [1, 2, 3], "dtype": "|u1"}
    frame = Codec().decode([body, b"\x01\x02\x03\x04\x05\x06"])
    assert frame.origin.source == "door"
    assert bytes(Codec().encode(frame)[0]) == body


def test_a_lease_instead_of_the_pixels():
    ring, reader, codec = FrameRing(1), FrameReader(), Codec()
    frame = messages()[1]
    parts = codec.encode(frame, ring.lend(frame.image, "r"))
    assert len(parts) == 1
    arrived = codec.decode(parts, lambda lease: reader.image("s", lease))
    assert np.array_equal(arrived.image.array, frame.image.array)
    with pytest.raises(CodecError, match="leases are not read here"):
        codec.decode(parts)


def changed(parts, path, value):
    body = msgpack.unpackb(parts[0])
    *way, last = path
    inner = body
    for step in way:
        inner = inner[step]
    inner[last] = value
    return [msgpack.packb(body), *parts[1:]]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("v",), 1, "speaks version 2"),
        (("message", "type"), "pickle", "pickle"),
        (("message", "chips", "dtype"), "|O", "dtype"),
        (("message", "chips", "shape"), [2, 112, 112, 4], "bytes"),
        (("message", "chips", "shape"), [2, 112, 1, 112 * 3], "chips"),
        (("message", "chips", "shape"), [2**31, 2**31, 2**31, 2**31], "bytes"),
        (("message", "chips", "shape"), [-2, -112, 112, 3], "shape"),
        (("message", "chips", "part"), 3, "missing"),
        (("message", "chips", "part"), 2, "bytes"),
        (("message", "chips", "part"), 0, "part"),
        (("message", "vectors", "shape"), [1, 256], "vectors"),
        (("message", "vectors", "dtype"), "|u1", "bytes"),
        (("message", "origin", "item"), -1, "item"),
        (("message", "chips"), {msgpack.ExtType(1, b"\0"): 1}, "not a message"),
    ],
)
def test_what_does_not_fit_is_refused(path, value, says):
    parts = [bytes(part) for part in Codec().encode(messages()[5])]
    with pytest.raises(CodecError, match=re.escape(says)):
        Codec().decode(changed(parts, path, value))


def test_parts_are_all_used_and_bounded():
    parts = [bytes(part) for part in Codec().encode(messages()[4])]
    for wrong, says in (
        ([], "parts"),
        ([*parts, b"more"], "belong to no array"),
        (parts[:1], "missing"),
        ([parts[0], *[b""] * 9], "parts"),
        ([b"\x81" * (MAX_BODY_BYTES + 1)], "at most"),
    ):
        with pytest.raises(CodecError, match=says):
            Codec().decode(wrong)


def test_a_stage_cannot_send_chips_without_their_faces():
    message = msgspec.structs.replace(messages()[4], faces=(LOOK,))
    with pytest.raises(CodecError, match="1 faces come with 1 chips"):
        Codec().decode([bytes(part) for part in Codec().encode(message)])


def test_what_is_no_array_of_ours_does_not_travel():
    message = msgspec.structs.replace(messages()[5], vectors=np.zeros((2, 4)))
    with pytest.raises(TypeError, match="cannot travel"):
        Codec().encode(message)


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        kind, at = rng.random(), rng.randrange(len(data) + 1)
        if kind < 0.5 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind < 0.7:
            del data[at:]
        elif kind < 0.85:
            data.insert(at, rng.randrange(256))
        else:
            data[at:at] = data[: rng.randrange(len(data) + 1)]
        data = data or bytearray(b"\xc0")
    return bytes(data)


def test_no_bytes_raise_anything_but_codec_error():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng, codec, reader = random.Random(seed), Codec(), FrameReader()
    ring = FrameRing(1)
    seeds = [[bytes(part) for part in codec.encode(message)] for message in messages()]
    seeds.append(codec.encode(messages()[1], ring.lend(picture(), "r")))
    planes = Image.planar(
        Layout(format="yuv420p", width=4, height=2, strides=(4, 2, 2)),
        [np.zeros(8, np.uint8), *[np.zeros(2, np.uint8)] * 2],
    )
    planar = msgspec.structs.replace(messages()[1], image=planes)
    seeds += [codec.encode(planar), codec.encode(planar, FrameRing(1).lend(planes, "r"))]
    refused = 0
    for _ in range(20_000):
        parts = list(rng.choice(seeds))
        place = rng.randrange(len(parts)) if rng.random() < 0.2 else 0
        parts[place] = mutated(rng, parts[place])
        try:
            message = codec.decode(parts, lambda lease: reader.image("s", lease))
            if hasattr(message, "image"):
                message.image.valid()
        except CodecError:
            refused += 1
    assert refused > 10_000


def test_control_messages():
    hop = PlainCodec[HopMessage](HopMessage)
    for message in (Hello(worker=1, credit=8), Ready(done=3, leases=(1, 2))):
        assert hop.decode(hop.encode(message)) == message
    beat = Beat(doing="busy", silent=0.5, counters=Counters(dropped={"stale": 2}))
    control = PlainCodec[ToSupervisor](ToSupervisor)
    assert control.decode(control.encode(beat)) == beat
    for wrong in ([], [b"", b""], [b"\xc1"], hop.encode(Hello(worker=0, credit=1))):
        with pytest.raises(CodecError):
            control.decode(wrong)
