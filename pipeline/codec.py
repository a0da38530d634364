"""Messages to and from the parts of a ZeroMQ multipart message; `docs/wire.md` describes the bytes.

Part 0 is a MessagePack map `{"v": 1, "message": {"type": ..., ...}}`. Arrays follow as parts of their own, so that
nobody copies them into the body; the body refers to them by number, shape and dtype. A picture is either such a part or
a lease of shared memory. Whatever arrives is held against bounds and types before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from vultus.pipeline.errors import CodecError
from vultus.pipeline.frames import Image, Lease
from vultus.pipeline.messages import AnyMessage, Chips, Embedded, Message
from vultus.pipeline.pixels import Layout, split

WIRE_VERSION = 2
MAX_BODY_BYTES = 4 << 20
MAX_ARRAY_BYTES = 1 << 30
"""Of all arrays of a message together."""
MAX_PARTS = 5

Part = bytes | bytearray | memoryview
Opener = Callable[[Lease], Image]
T = TypeVar("T")


class ArrayRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An array of the message, in a part of its own: C order, little-endian."""

    part: Annotated[int, Meta(ge=1, lt=MAX_PARTS)]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=1 << 31)], ...], Meta(min_length=1, max_length=4)]
    dtype: Literal["|u1", "<f4"]


class LeaseRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture in shared memory."""

    lease: Lease


class PlanesRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A planar picture, its planes one after another in a part of its own."""

    part: Annotated[int, Meta(ge=1, lt=MAX_PARTS)]
    layout: Layout


class KeptRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In the answer of another host: the picture or chips of the very message that it answers, which stayed here."""

    kept: Literal["image", "chips"]


class _Envelope(Struct, frozen=True):
    v: int
    message: msgspec.Raw


class PlainCodec(Generic[T]):
    """Structs without arrays, one part each. Safe from several threads."""

    def __init__(self, kinds: Any) -> None:
        """`kinds` is the union of the tagged structs that may arrive."""
        self._encoder = msgspec.msgpack.Encoder()
        self._envelopes = msgspec.msgpack.Decoder(_Envelope)
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kinds)

    def encode(self, message: Struct) -> list[Part]:
        """The one part."""
        return [self._encoder.encode({"v": WIRE_VERSION, "message": message})]

    def decode(self, parts: Sequence[Part]) -> T:
        """The struct; raises CodecError for anything else."""
        if len(parts) != 1:
            raise CodecError(f"one part was expected, {len(parts)} came")
        return _checked(self._envelopes, self._decoder, parts[0])


class Codec:
    """Messages with their arrays. Belongs to one thread."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._used: set[int] = set()
        self._lease: Lease | None = None
        self._opener: Opener | None = None
        self._asked: Message | None = None
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._take_out)
        self._envelopes = msgspec.msgpack.Decoder(_Envelope)
        self._decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage, dec_hook=self._put_in)

    def encode(self, message: Message, lease: Lease | None = None, asked: Message | None = None) -> list[Part]:
        """The parts of a message; its picture goes as `lease` if there is one, with its bytes otherwise.

        Pictures and chips that are those of `asked`, which the receiver has, do not go at all.
        """
        self._parts, self._lease, self._asked = [b""], lease, asked
        self._parts[0] = self._encoder.encode({"v": WIRE_VERSION, "message": message})
        parts, self._parts = self._parts, []
        return parts

    def decode(self, parts: Sequence[Part], opener: Opener | None = None, asked: Message | None = None) -> AnyMessage:
        """The message, its arrays read-only views of the parts, a leased picture as `opener` gives it.

        `asked` is the message that this one answers, if it came from another host.

        Raises CodecError for anything that is no message of this version; without `opener` also for a lease.
        """
        if not 1 <= len(parts) <= MAX_PARTS:
            raise CodecError(f"a message has 1 to {MAX_PARTS} parts, {len(parts)} came")
        if sum(map(len, parts[1:])) > MAX_ARRAY_BYTES:
            raise CodecError(f"the arrays of a message take at most {MAX_ARRAY_BYTES} bytes")
        self._parts, self._used, self._opener, self._asked = list(parts), set(), opener, asked
        try:
            message = _checked(self._envelopes, self._decoder, parts[0])
        finally:
            self._parts, self._opener, self._asked = [], None, None
        if len(self._used) != len(parts) - 1:
            raise CodecError(f"{len(parts) - 1 - len(self._used)} parts belong to no array of the message")
        check_arrays(message)
        return message

    def _take_out(self, value: Any) -> Any:
        """For the encoder: what stands in the body for a picture or array."""
        if self._asked is not None:
            for name in ("image", "chips"):
                if value is getattr(self._asked, name, None):
                    return {"kept": name}
        if isinstance(value, Image):
            return LeaseRef(lease=self._lease) if self._lease is not None else self._take_out_picture(value)
        if isinstance(value, np.ndarray) and value.dtype.str in ("|u1", "<f4"):
            self._parts.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
            return ArrayRef(part=len(self._parts) - 1, shape=value.shape, dtype=value.dtype.str)
        raise TypeError(f"{type(value).__name__} cannot travel in a message")

    def _take_out_picture(self, image: Image) -> Any:
        if image.layout.format == "bgr24":
            return self._take_out(image.array)
        self._parts.append(np.concatenate(image.chunks).data)
        return PlanesRef(part=len(self._parts) - 1, layout=image.layout)

    def _put_in(self, kind: type, value: Any) -> Any:
        """For the decoder: the picture or array that stands behind its entry in the body; ValueError if none."""
        if isinstance(value, dict) and "kept" in value:
            kept = getattr(self._asked, msgspec.convert(value, KeptRef).kept, None)
            if not isinstance(kept, kind):
                raise ValueError("nothing of that kind was kept")
            return kept
        if kind is Image and isinstance(value, dict) and "lease" in value:
            if self._opener is None:
                raise ValueError("leases are not read here")
            return self._opener(msgspec.convert(value, LeaseRef).lease)
        if kind is Image and isinstance(value, dict) and "layout" in value:
            planes = msgspec.convert(value, PlanesRef)
            ref = ArrayRef(part=planes.part, shape=(planes.layout.nbytes,), dtype="|u1")
            return Image.planar(planes.layout, split(planes.layout, self._array(ref)))
        array = self._array(msgspec.convert(value, ArrayRef))
        return Image(array) if kind is Image else array

    def _array(self, ref: ArrayRef) -> npt.NDArray[Any]:
        if ref.part >= len(self._parts) or ref.part in self._used:
            raise ValueError(f"part {ref.part} is missing or used twice")
        part, dtype = self._parts[ref.part], np.dtype(ref.dtype)
        if prod(ref.shape) * dtype.itemsize != len(part):
            raise ValueError(f"part {ref.part} has {len(part)} bytes, not those of shape {list(ref.shape)} {ref.dtype}")
        self._used.add(ref.part)
        array = np.frombuffer(part, dtype).reshape(ref.shape)
        if not array.flags.aligned:
            array = array.copy()
        array.flags.writeable = False
        return array


def _checked(envelopes: msgspec.msgpack.Decoder[_Envelope], decoder: msgspec.msgpack.Decoder[T], body: Part) -> T:
    if len(body) > MAX_BODY_BYTES:
        raise CodecError(f"the body of a message takes at most {MAX_BODY_BYTES} bytes, not {len(body)}")
    try:
        envelope = envelopes.decode(body)
        if envelope.v != WIRE_VERSION:
            raise CodecError(f"this is wire version {envelope.v}; this program speaks version {WIRE_VERSION}")
        return decoder.decode(envelope.message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
        # TypeError: where an array is expected, keys of a map may be anything, also what has no hash.
        raise CodecError(f"not a message: {error}") from error


def check_arrays(message: Message) -> None:
    """Raise CodecError if faces, chips and vectors of a message do not belong together."""
    if isinstance(message, Chips | Embedded):
        count, chips = len(message.faces), message.chips
        if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[0] != count or chips.shape[3] != 3:
            raise CodecError(f"{count} faces come with {count} chips (h, w, 3) uint8, not {chips.shape} {chips.dtype}")
    if isinstance(message, Embedded):
        vectors = message.vectors
        if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[0] != count:
            raise CodecError(f"{count} faces come with {count} vectors float32, not {vectors.shape} {vectors.dtype}")
