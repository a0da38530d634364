"""The normalisation of an ONNX file whose maker did not write it down, put behind the file's own bytes.

A protobuf message that follows another of its type is merged into it (protobuf.dev, "Encoding": "Last One Wins" and
repeated fields), so an ONNX file with a second, tiny one behind it is the same graph with more metadata. Nothing of the
published file is read or written anew: what runs is its bytes, which the manifest's hash is about, and these few.
"""

from __future__ import annotations

from collections.abc import Mapping

from vultus.weights.manifest import Entry

_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
"""Fields of `ModelProto` and of its `StringStringEntryProto` (onnx.proto)."""


def metadata(name: str, entry: Entry) -> dict[str, str]:
    """What the engine reads from a file itself: which normalisation `embed_chips` has to apply."""
    return {
        "vultus.name": name,
        "vultus.colour": entry.colour,
        "vultus.mean": ",".join(f"{value:g}" for value in entry.mean),
        "vultus.std": ",".join(f"{value:g}" for value in entry.std),
    }


def record(texts: Mapping[str, str]) -> bytes:
    """An ONNX model that holds nothing but `texts` as its metadata."""
    entries = [_field(_KEY, key.encode()) + _field(_VALUE, value.encode()) for key, value in texts.items()]
    return b"".join(_field(_METADATA_PROPS, entry) for entry in entries)


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    length, head = len(value), bytes([number << 3 | 2])
    while length > 127:
        head += bytes([length & 127 | 128])
        length >>= 7
    return head + bytes([length]) + value
