"""The snapshot file: a copy of the index in memory, so that opening does not read every row of the database.

It is derived, and never trusted further than it can be checked: whatever is wrong with it, the index is rebuilt from
the database. All numbers are little-endian.

| bytes    | type       | meaning                                                              |
|----------|------------|----------------------------------------------------------------------|
| 0-7      | 8 bytes    | magic `VULTFACE`                                                     |
| 8-11     | u32        | version of this table: 2, or 3 if the rest is sealed from the first face on |
| 12-15    | u32        | CRC-32 of bytes 16 up to the first face                              |
| 16-31    | 16 bytes   | uid of the gallery                                                   |
| 32-39    | u64        | sequence number of the last journal row that is in it                |
| 40-47    | u64        | mark of that row                                                     |
| 48-55    | f64        | when it was written, seconds since the epoch                         |
| 56-63    | u64        | n, number of faces                                                   |
| 64-67    | u32        | dim, numbers in a vector                                             |
| 68-71    | u32        | CRC-32 of everything from the first face to the end of the file      |
| 72-75    | u32        | m, bytes of the model's fingerprint; 0 if the gallery names no model |
| 76-87    | 12 bytes   | kind of index, ASCII, then zeros; `ivf-sq8/b` (or `/11`): with 2^11 lists |
| 88-      | m bytes    | fingerprint, UTF-8, then zeros up to a multiple of 64                |
| then     | n × i64    | faces                                                                |
| then     | n × i64    | their people, 0 for nobody, negated those without a name             |

then, of a kind with a store (`vultus.index.kinds`): its parameters, f32 (the error of a similarity; with sq8 also dim
least numbers and dim ranges), and n codes (flat: dim × f32 of length 1, fp16: dim × f16, sq8: dim × u8).

then, of a kind with lists, in place of that: its parameters, f32 (the error, the recall wanted and measured, how many
lists are read, ranges as of the store, the centroids), the length of each list, i64, and the codes list by list; faces
and people are in that order, too.

of the kind `ivf-pq-sq8` the store comes first, as of a kind without lists; then those parameters with the centroids of the
product quantiser in place of the ranges, the length of each list, the rows of faces list by list, i64, and the blocks of
the lists, each list's ceil(length / 32), and zeros up to ceil(n / 32) + lists blocks; faces and people are in row order.

then, of a kind with a scan and no lists: its parameters, f32 (the error; with pq also the centroids, 16 for each part of a
vector; with rabitq the dim numbers of the centre), and ceil(n / 32) blocks of 32 codes as FAISS packs them.

Of an encrypted gallery the part from the first face on is cut into pieces of 1 MiB, each sealed (`vultus.index.seal`) as
"snapshot", the header from byte 16 on, and its number from 0; the CRC of that part is 0 then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
from msgspec import Struct

from vultus.index import kinds
from vultus.index.errors import StorageError
from vultus.index.journal import Point
from vultus.index.seal import OVERHEAD, Seal
from vultus.index.store import private, sync_folder
from vultus.index.vectors import VectorIndex, section_shapes

NAME = "faces.snapshot"
MAGIC = b"VULTFACE"
VERSION = 2
SEALED = 3
_FIXED = struct.Struct("<8sII16sQQdQIII12s")
_HEAD_CRC_FROM = 16
_ALIGN = 64
_MAX_MODEL = 4096
_PIECE = 1 << 20
_POWERS = "0123456789abcdefg"
"""Of two, how many lists there are; a digit each, as the kind's field is short."""


class Unusable(Exception):
    """Why a snapshot cannot be used, in words."""


class Header(Struct, frozen=True, kw_only=True):
    """What a snapshot says about itself."""

    uid: bytes
    model: str | None
    dim: int
    kind: str
    lists: int
    """How many, of a kind with lists, else 0."""
    count: int
    point: Point
    """Place in the gallery's history that it shows."""
    written: float
    body_crc: int
    sealed: bool
    head: bytes
    """What the checksum of the header is of."""

    @property
    def size(self) -> int:
        """Bytes before the first face."""
        return _head_size(len((self.model or "").encode()))


def read_header(path: Path) -> Header:
    """Return the header of the snapshot at `path`, checked against its checksum and the file's size."""
    with _opened(path) as file:
        return _read_header(file)


def load(
    path: Path, uid: bytes, model: str | None, dim: int, kind: str, seal: Seal | None = None
) -> tuple[VectorIndex, Header]:
    """Return the index that the snapshot holds.

    Raises Unusable unless it is whole, of this gallery and model, and of the kind that is wanted.
    """
    with _opened(path) as file:
        header = _read_header(file)
        if header.uid != uid:
            raise Unusable("it belongs to another gallery")
        # One written before the gallery was told its model holds the vectors that now count as that model's.
        if header.model not in (None, model) or header.dim != dim:
            raise Unusable(f"it holds {header.dim} numbers a face of model {header.model}, not {dim} of {model}")
        if header.kind != kind:
            raise Unusable(f"it holds an index of kind {header.kind}, and {kind} is wanted")
        if header.sealed != (seal is not None):
            raise Unusable(f"it is {'' if header.sealed else 'not '}encrypted, unlike the gallery")
        file.seek(header.size)
        source = file if seal is None else _Opening(file, seal, header.head)
        crc, index = 0, VectorIndex(dim, kind)
        try:
            for place in index.restoring(header.count, header.lists):
                crc = _read_into(source, place.reshape(-1).view(np.uint8), crc)
        except ValueError as reason:
            raise Unusable(str(reason)) from reason
    if crc != header.body_crc and not header.sealed:
        raise Unusable("its checksum is wrong")
    return index, header


def _read_into(file: BinaryIO | _Opening, place: np.ndarray, crc: int) -> int:
    """Fill `place` and return the checksum, taken of each piece while it is still in the cache."""
    for start in range(0, len(place), _PIECE):
        piece = place[start : start + _PIECE].data
        if file.readinto(piece) != len(piece):  # type: ignore[union-attr]
            raise Unusable("it changed while it was read")
        crc = zlib.crc32(piece, crc)
    return crc


class _Opening:
    """The rest of a snapshot's file, unsealed piece by piece."""

    def __init__(self, file: BinaryIO, seal: Seal, head: bytes) -> None:
        self._file, self._seal, self._what = file, seal, b"snapshot" + head
        self._number = 0
        self._left = memoryview(b"")

    def readinto(self, place: memoryview) -> int:
        """Fill `place`; less than that at the end only. Raises Unusable for a piece that is not what it was."""
        done = 0
        while done < len(place):
            if not self._left:
                sealed = self._file.read(_PIECE + OVERHEAD)
                if not sealed:
                    break
                (opened,) = self._seal.open(self._what, [self._number], [sealed])
                if not opened:
                    raise Unusable("it is damaged, or encrypted with another key")
                self._number += 1
                self._left = memoryview(opened)
            part = self._left[: len(place) - done]
            place[done : done + len(part)] = part
            self._left = self._left[len(part) :]
            done += len(part)
        return done


def _pieces(parts: list[memoryview]) -> Iterator[bytes]:
    """Cut what the parts hold one after the other."""
    buffer = bytearray()
    for part in parts:
        for start in range(0, len(part), _PIECE):
            buffer += part[start : start + _PIECE]
            if len(buffer) >= _PIECE:
                yield bytes(buffer[:_PIECE])
                del buffer[:_PIECE]
    if buffer:
        yield bytes(buffer)


def _total(shapes: list[tuple[str, tuple[int, ...]]]) -> int:
    return sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in shapes)


def write(
    path: Path,
    index: VectorIndex,
    uid: bytes,
    model: str | None,
    point: Point,
    seal: Seal | None = None,
    copied: Callable[[], None] = lambda: None,
) -> None:
    """Put a snapshot of `index` in place of the one at `path`, whole or not at all. Raises StorageError.

    Calls `copied` when the index is not needed any more, before the disk has taken all.
    """
    parts = [np.ascontiguousarray(part).reshape(-1).view(np.uint8).data for part in index.sections()]
    version, body_crc = (VERSION if seal is None else SEALED), 0
    for part in parts if seal is None else ():
        body_crc = zlib.crc32(part, body_crc)
    name = (model or "").encode()
    tail = _FIXED.pack(
        MAGIC,
        version,
        0,
        uid,
        point.seq,
        point.mark,
        time.time(),
        len(index),
        index.dim,
        body_crc,
        len(name),
        (index.kind + (f"/{_POWERS[index.lists.bit_length() - 1]}" if index.lists else "")).encode("ascii"),
    )[_HEAD_CRC_FROM:]
    tail = (tail + name).ljust(_head_size(len(name)) - _HEAD_CRC_FROM, b"\0")
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb", opener=private) as file:
            file.write(struct.pack("<8sII", MAGIC, version, zlib.crc32(tail)) + tail)
            file.writelines(parts if seal is None else seal.close(b"snapshot" + tail, count(), _pieces(parts)))
            file.flush()
            parts.clear()
            copied()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # of a file system that failed just now, too
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"the snapshot {path} could not be written ({error.strerror}); the gallery itself is complete and safe, "
            "only the next opening takes longer",
            error.errno or errno.EIO,
        ) from error


@contextlib.contextmanager
def only_one(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Keep other processes from writing a snapshot into `folder`; gives false if one does and `wait` is not set."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)  # gives the lock back


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise Unusable("there is none") from None
    except OSError as error:
        raise Unusable(f"it cannot be read ({error.strerror})") from error


def _read_header(file: BinaryIO) -> Header:
    fixed = file.read(_FIXED.size)
    if len(fixed) < _FIXED.size:
        raise Unusable(f"it ends after {len(fixed)} bytes")
    magic, version, crc, uid, seq, mark, written, faces, dim, body_crc, model_size, kind_name = _FIXED.unpack(fixed)
    if magic != MAGIC:
        raise Unusable("it does not begin like a snapshot")
    if version not in (VERSION, SEALED):
        raise Unusable(f"it has version {version}, this program reads {VERSION} and {SEALED}")
    if model_size > _MAX_MODEL:
        raise Unusable(f"it says the model's name has {model_size} bytes")
    size = _head_size(model_size)
    head = fixed + file.read(size - _FIXED.size)
    if zlib.crc32(head[_HEAD_CRC_FROM:]) != crc:
        raise Unusable("the checksum of its header is wrong")
    kind, _, lists = kind_name.rstrip(b"\0").decode("ascii", "replace").partition("/")
    power = int(lists) if lists.isdecimal() else _POWERS.find(lists) if lists else -1
    if kind not in kinds.KINDS or kinds.KINDS[kind].lists != (0 <= power < len(_POWERS)):
        raise Unusable(f"it holds an index of kind {kind!r}, which this program does not know")
    body = _total(section_shapes(kind, dim, faces, 1 << power if lists else 0))
    pieces = -(-body // _PIECE) if version == SEALED else 0
    there, said = os.fstat(file.fileno()).st_size, size + body + pieces * OVERHEAD
    if there != said:
        raise Unusable(f"it has {there} bytes where {said} are expected")
    model = head[_FIXED.size : _FIXED.size + model_size].decode("utf-8", "replace") or None
    return Header(
        uid=uid,
        model=model,
        dim=dim,
        kind=kind,
        lists=1 << power if lists else 0,
        count=faces,
        point=Point(seq, mark),
        written=written,
        body_crc=body_crc,
        sealed=version == SEALED,
        head=head[_HEAD_CRC_FROM:],
    )


def _head_size(model_size: int) -> int:
    return -(-(_FIXED.size + model_size) // _ALIGN) * _ALIGN
