"""Pictures, in this process's memory or leased from another's shared memory.

A process that sends pictures owns a ring: slots of one size in an anonymous file (`memfd`). It has no name anywhere, so
whatever is killed, the kernel frees it with the last process that has it open. Readers open it as
`/proc/<pid>/fd/<fd>`, read-only, and keep it mapped. A message carries a `Lease`: which ring, which slot, which
generation.

Three rules keep a picture whole. A slot that is leased is not written until the lease came back. A reader holds a
shared lock on the slot (an open-file-description lock, one byte for each slot) as long as any array that shows its pixels
lives; the kernel drops it if the reader dies. The writer takes the exclusive lock before it touches a slot, and each
picture gets a new generation, so a reader whose lease was taken back meanwhile (the process that forwarded it died)
either still reads the old pixels undisturbed or gets `StaleFrame` before it has seen one.

Layout, little-endian: 0 magic `VULTUSF1`, 8 token (16 random bytes), 24 u64 number of slots, 32 u64 bytes of a slot,
64 u64 generation of each slot (0 = being written), 4096 the slots.
"""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import stat
import struct
from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import Annotated, Any

import cv2
import numpy as np
from msgspec import Meta, Struct, structs

from vultus.pipeline.errors import StaleFrame
from vultus.pipeline.pixels import Layout, Pixels, reduced, split, to_bgr, views

Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

_MAGIC = b"VULTUSF1"
_HEADER = struct.Struct("<8s16sQQ")
_GENERATIONS = 64
_DATA = 4096
MAX_SLOTS = (_DATA - _GENERATIONS) // 8
RING_BYTES = 1 << 30
"""Rings hold fewer slots than asked for rather than more than this, but always one."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Lease(Struct, frozen=True, kw_only=True):
    """Where a picture lies, and the right to read it until it is given back."""

    pid: Natural
    fd: Natural
    token: Annotated[bytes, Meta(min_length=16, max_length=16)]
    """Random bytes that the ring's header repeats: a process or file number may have been used again."""
    slot: Natural
    generation: Natural
    layout: Layout
    key: Natural
    """What the receiver gives back to whoever sent it this message."""

    @property
    def nbytes(self) -> int:
        """Size of the pixels."""
        return self.layout.nbytes


class Image:
    """One picture, of any `Layout`. What was handed on in a message is not written to again.

    A stage that keeps pixels beyond `process` copies them: a leased slot is worth a place in the sender's ring.
    """

    __slots__ = ("_chunks", "_claim", "layout")

    def __init__(self, array: Pixels) -> None:
        """Of `(h, w, 3)` uint8 BGR, which stays the caller's if it is contiguous; ValueError if it is no picture."""
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise ValueError(f"a picture is (h, w, 3) uint8 with at least one pixel, not {array.shape} {array.dtype}")
        height, width = array.shape[:2]
        self.layout = Layout(format="bgr24", width=width, height=height, strides=(3 * width,))
        self._chunks: list[Pixels] | None = [np.ascontiguousarray(array).reshape(-1)]
        self._claim: Claim | None = None

    @classmethod
    def planar(cls, layout: Layout, chunks: Sequence[Pixels]) -> Image:
        """Of the bytes of each plane, flat; they stay the caller's. Raises ValueError if they are not as long as that."""
        if tuple(chunk.nbytes for chunk in chunks) != layout.sizes:
            raise ValueError(f"planes of {[chunk.nbytes for chunk in chunks]} bytes, not of {list(layout.sizes)}")
        image = cls.__new__(cls)
        image.layout, image._chunks, image._claim = layout, list(chunks), None
        return image

    @classmethod
    def leased(cls, claim: Claim) -> Image:
        """A picture that is looked up when its pixels are first asked for."""
        image = cls.__new__(cls)
        image.layout, image._chunks, image._claim = claim.lease.layout, None, claim
        return image

    @property
    def chunks(self) -> list[Pixels]:
        """The bytes of each plane, flat, read-only if leased; raises StaleFrame if they were overwritten before this was
        first asked. Once given they stay as they are."""
        if self._chunks is None:
            assert self._claim is not None
            self._chunks = split(self.layout, self._claim.pixels())
        return self._chunks

    @property
    def width(self) -> int:
        """In pixels."""
        return self.layout.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.layout.height

    @property
    def array(self) -> Pixels:
        """All of it as `(h, w, 3)` uint8 BGR: of a planar picture a conversion (1 ms for 1080p), of another a view."""
        return self.patch(0, 0, self.width, self.height)[0]

    def scaled(self, width: int, height: int) -> Pixels:
        """All of it at that size, smaller or equal, as `(height, width, 3)` uint8 BGR."""
        planes = views(self.layout, self.chunks)
        if self.layout.format == "yuv420p":
            y, u, v = (reduced(plane, (width, height)) for plane in planes)
            return to_bgr(y, u, v, self.layout)
        if (width, height) == (self.width, self.height):
            return planes[0]
        return np.asarray(cv2.resize(planes[0], (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def glance(self, width: int, height: int) -> Pixels:
        """Samples of it, `(height, width, 3)` uint8 BGR, not averaged: next to no cost, whatever its size."""
        samples = [
            np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
            for plane in views(self.layout, self.chunks)
        ]
        return samples[0] if len(samples) == 1 else to_bgr(samples[0], samples[1], samples[2], self.layout)

    def patch(self, left: int, top: int, right: int, bottom: int) -> tuple[Pixels, int, int]:
        """`(h, w, 3)` uint8 BGR that shows at least this part, as far as there is a picture, and its left and top.

        What is not planar comes as a whole, since that costs nothing. The part must meet the picture.
        """
        planes = views(self.layout, self.chunks)
        if self.layout.format == "bgr24":
            return planes[0], 0, 0
        # Even, since two by two pixels share their colour; one pair more, since colour is interpolated between pairs.
        left, top = max(0, (left & ~1) - 2), max(0, (top & ~1) - 2)
        right, bottom = min(self.width, right + 2), min(self.height, bottom + 2)
        y = planes[0][top:bottom, left:right]
        if not y.size:
            raise ValueError(f"{left}, {top} to {right}, {bottom} lies outside of {self.width}×{self.height} pixels")
        half = (slice(top // 2, -(-bottom // 2)), slice(left // 2, -(-right // 2)))
        size = (y.shape[1] + (y.shape[1] & 1), y.shape[0] + (y.shape[0] & 1))
        u, v = (
            np.asarray(cv2.resize(plane[half], size, interpolation=cv2.INTER_LINEAR), np.uint8)[
                : y.shape[0], : y.shape[1]
            ]
            for plane in planes[1:]
        )
        return to_bgr(y, u, v, self.layout), left, top

    @property
    def nbytes(self) -> int:
        """Size of the pixels, without looking at them."""
        return self.layout.nbytes

    @property
    def claim(self) -> Claim | None:
        """The right to the slot, if leased."""
        return self._claim

    def valid(self) -> bool:
        """Whether `chunks` gives, or would give, the pixels of this very frame."""
        try:
            return self.chunks is not None
        except StaleFrame:
            return False


class Claim:
    """A lease in the hands of a reader; given back when the last reference to it goes."""

    __slots__ = ("_reader", "_sender", "lease")

    def __init__(self, reader: FrameReader, sender: str, lease: Lease) -> None:
        self._reader, self._sender, self.lease = reader, sender, lease

    def pixels(self) -> Pixels:
        """All planes, flat, locked against overwriting as long as the array or a view of it lives."""
        mapping = self._reader.mapping(self.lease)
        return np.asarray(_Hold(mapping, self.lease, self))

    def __del__(self) -> None:
        # A finaliser may run anywhere, also inside this module's own code: it only notes what is to be done.
        self._reader.returned.append((self._sender, self.lease.key))


class _Hold:
    """Owner of an array over a slot: NumPy keeps it as long as any view lives."""

    __slots__ = ("__array_interface__", "_claim", "_mapping", "_slot")

    def __init__(self, mapping: _Mapping, lease: Lease, claim: Claim) -> None:
        mapping.pin(lease)
        self._mapping, self._slot, self._claim = mapping, lease.slot, claim
        address = mapping.address + _DATA + lease.slot * mapping.slot_bytes
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "shape": (lease.nbytes,),
            "typestr": "|u1",
            "data": (address, True),
        }

    def __del__(self) -> None:
        mapping = getattr(self, "_mapping", None)  # none if `pin` refused
        if mapping is not None:
            mapping.dropped.append(self._slot)


class FrameReader:
    """Opens other processes' rings. `mapping` and `collect` may be called from one thread at a time."""

    def __init__(self) -> None:
        self.returned: deque[tuple[str, int]] = deque()
        """Leases that were given back, as (sender, key), for whoever talks to the senders."""
        self._mappings: dict[tuple[int, int], _Mapping] = {}

    def image(self, sender: str, lease: Lease) -> Image:
        """The picture of a lease that came from `sender`."""
        return Image.leased(Claim(self, sender, lease))

    def mapping(self, lease: Lease) -> _Mapping:
        """The ring of this lease; raises StaleFrame if it is gone or another."""
        mapping = self._mappings.get((lease.pid, lease.fd))
        if mapping is None or mapping.token != lease.token:
            # New rings come when a process was started again or its frames grew: the time to let old ones go.
            self._mappings = {place: old for place, old in self._mappings.items() if old.exists()}
            mapping = _Mapping(lease)
            self._mappings[lease.pid, lease.fd] = mapping
        return mapping

    def collect(self) -> None:
        """Unlock the slots whose arrays are gone."""
        for mapping in self._mappings.values():
            mapping.unpin_dropped()


class _Mapping:
    """Another process's ring, mapped read-only."""

    def __init__(self, lease: Lease) -> None:
        self._path = f"/proc/{lease.pid}/fd/{lease.fd}"
        self.token = lease.token
        self.dropped: deque[int] = deque()
        self._pins: dict[int, int] = {}
        self._lock = Lock()
        self._fd = -1
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._map(lease)
        except OSError as error:
            raise StaleFrame(f"the process {lease.pid} that held the frame is gone: {error.strerror}") from error

    def _map(self, lease: Lease) -> None:
        status = os.fstat(self._fd)
        # The seals forbid shrinking, without which a hostile or broken owner could turn a read into SIGBUS.
        if not stat.S_ISREG(status.st_mode) or status.st_size < _DATA or not _sealed(self._fd):
            raise StaleFrame(f"file {lease.fd} of process {lease.pid} is no ring of frames")
        self._memory = mmap.mmap(self._fd, status.st_size, prot=mmap.PROT_READ)
        magic, token, self.slots, self.slot_bytes = _HEADER.unpack_from(self._memory)
        fits = self.slots <= MAX_SLOTS and _DATA + self.slots * self.slot_bytes <= status.st_size
        if magic != _MAGIC or token != lease.token or not fits:
            raise StaleFrame(f"file {lease.fd} of process {lease.pid} is another ring than the one of the lease")
        self._inode = status.st_ino
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._generations = np.frombuffer(self._memory, "<u8", count=self.slots, offset=_GENERATIONS)
        self.address = self._bytes.ctypes.data

    def exists(self) -> bool:
        """Whether the owner still has it open."""
        try:
            return os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    def pin(self, lease: Lease) -> None:
        """Keep the writer off the slot; raises StaleFrame if it is in it already or has been."""
        if lease.slot >= self.slots or lease.nbytes > self.slot_bytes:
            raise StaleFrame(f"slot {lease.slot} with {lease.nbytes} bytes lies outside of its ring")
        with self._lock:
            self._unpin_dropped()
            pins = self._pins.get(lease.slot, 0)
            if not pins and not _lock_slot(self._fd, fcntl.F_RDLCK, lease.slot):
                raise StaleFrame("the frame is being overwritten")
            if self._generations[lease.slot] != lease.generation:
                if not pins:
                    _lock_slot(self._fd, fcntl.F_UNLCK, lease.slot)
                raise StaleFrame("the frame was overwritten before it was read")
            self._pins[lease.slot] = pins + 1

    def unpin_dropped(self) -> None:
        """Let the writer have the slots whose arrays are gone."""
        with self._lock:
            self._unpin_dropped()

    def _unpin_dropped(self) -> None:
        while self.dropped:
            slot = self.dropped.popleft()
            self._pins[slot] -= 1
            if not self._pins[slot]:
                del self._pins[slot]
                _lock_slot(self._fd, fcntl.F_UNLCK, slot)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class FrameRing:
    """The frames that this process lends to others. Belongs to one thread."""

    def __init__(self, slots: int, max_bytes: int = RING_BYTES) -> None:
        """`slots` pictures at once, fewer if they would take more than `max_bytes`."""
        if not 1 <= slots <= MAX_SLOTS:
            raise ValueError(f"a ring has 1 to {MAX_SLOTS} slots, not {slots}")
        self._wanted, self._max_bytes = slots, max_bytes
        self._segment: _Segment | None = None
        self._keys = itertools.count(1)
        self._lent: dict[str, dict[int, Claim | _Segment]] = {}
        self._slots: dict[int, int] = {}

    def lend(self, image: Image, holder: str) -> Lease | None:
        """Put the picture into a slot, or pass on the one it lies in already; none if no slot is free now."""
        claim, key = image.claim, next(self._keys)
        if claim is not None:
            self._lent.setdefault(holder, {})[key] = claim
            return structs.replace(claim.lease, key=key)
        segment = self._fitting(image.nbytes)
        written = segment.write(image.chunks)
        if written is None:
            return None
        slot, generation = written
        self._lent.setdefault(holder, {})[key] = segment
        self._slots[key] = slot
        return Lease(
            pid=os.getpid(),
            fd=segment.fd,
            token=segment.token,
            slot=slot,
            generation=generation,
            layout=image.layout,
            key=key,
        )

    def take_back(self, holder: str, key: int) -> bool:
        """End one lease; false if `holder` has no such lease."""
        owner = self._lent.get(holder, {}).pop(key, None)
        if isinstance(owner, _Segment):
            owner.free.append(self._slots.pop(key))
        return owner is not None

    def take_back_all(self, holder: str) -> None:
        """End the leases of a process that is gone."""
        for key in list(self._lent.get(holder, {})):
            self.take_back(holder, key)
        self._lent.pop(holder, None)

    @property
    def lent(self) -> int:
        """Leases that are out."""
        return sum(map(len, self._lent.values()))

    def _fitting(self, nbytes: int) -> _Segment:
        segment, slots = self._segment, max(1, min(self._wanted, self._max_bytes // max(1, nbytes)))
        # Grown for a larger picture; shrunk again only where the large one had cost slots.
        if segment is None or nbytes > segment.slot_bytes or (segment.slots < slots and not segment.busy()):
            # The old segment lives on until its last lease is taken back, and goes with its last reference.
            self._segment = segment = _Segment(slots, nbytes)
        return segment


class _Segment:
    """One memfd of equal slots."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        self.slots, self.slot_bytes = slots, -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.token = os.urandom(16)
        self.free = deque(range(slots))
        self._generation = 0
        size = _DATA + slots * self.slot_bytes
        self.fd = os.memfd_create("vultus-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        memory = mmap.mmap(self.fd, size)
        _HEADER.pack_into(memory, 0, _MAGIC, self.token, slots, self.slot_bytes)
        self._bytes = np.frombuffer(memory, np.uint8)
        self._generations = np.frombuffer(memory, "<u8", count=slots, offset=_GENERATIONS)

    def busy(self) -> bool:
        """Whether a slot is lent."""
        return len(self.free) < self.slots

    def write(self, chunks: Sequence[Pixels]) -> tuple[int, int] | None:
        """Copy the planes into a free slot: its number and generation; none if every slot is lent or being read."""
        for _ in range(len(self.free)):
            slot = self.free.popleft()
            if not _lock_slot(self.fd, fcntl.F_WRLCK, slot):
                self.free.append(slot)
                continue
            self._generation += 1
            self._generations[slot] = 0
            start = _DATA + slot * self.slot_bytes
            for chunk in chunks:
                self._bytes[start : start + chunk.nbytes] = chunk
                start += chunk.nbytes
            self._generations[slot] = self._generation
            _lock_slot(self.fd, fcntl.F_UNLCK, slot)
            return slot, self._generation
        return None

    def __del__(self) -> None:
        os.close(self.fd)


def _sealed(fd: int) -> bool:
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK != 0
    except OSError:
        return False


def _lock_slot(fd: int, kind: int, slot: int) -> bool:
    """Set or drop this open file's lock on one slot, without waiting; false if another's is in the way.

    `struct flock` of 64-bit Linux: short type, short whence, off_t start, off_t len, pid_t pid (0 as the call demands).
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, slot, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True
