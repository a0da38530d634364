"""The kinds of index: what each keeps in memory, what it costs, and which one a gallery gets.

name           in memory, a vector of d numbers        searched by
flat           4 d bytes                               reading all of it; the answer is that of a full sort
fp16           2 d                                     reading all of it
sq8            d                                       reading all of it
pq-fp16        2 d + m / 2                             4-bit product quantiser (fast scan) over all, best again in fp16
pq-sq8         d + m / 2                               the same, best again in 8 bits
pq-exact       m / 2                                   the same, best again from the database
rabitq-…       as pq-…, with d / 8 + 8 for m / 2       one-bit RaBitQ (fast scan) over all
ivf-sq8        d + 16                                  reading the lists whose centroids are nearest to the probe
ivf-fp16       2 d + 16                                the same
ivf-pq-sq8     d + m / 2 + 16                          a 4-bit product quantiser over these lists, best again in 8 bits

So many lists are read that the nearest person is found in them as often as the user wants (`Kind.lists`).
m is 64 up to 512 numbers and d / 8 above (or the next lower divisor of d). Each face takes 16 bytes more. Whatever the
kind, the similarities of the answer are computed from the vectors of the database, and so is the order of the best.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from vultus.index.errors import UnknownKind

Scan = Literal["none", "pq", "rabitq"]
Store = Literal["none", "flat", "fp16", "sq8"]

AUTO = "auto"
FLAT = "flat"
HNSW = "hnsw"
"""The database's own index, of galleries in PostgreSQL; no other kind but `flat` is there."""
FEWEST = 1024
"""Below this many faces a quantiser has too little to learn from, and every gallery is flat."""
MOST_FLAT = 1 << 26
"""Numbers (faces times dim) up to which `auto` stays exact: 131,072 × 512, 524,288 × 128; 256 MB, read in about 15 ms."""
MOST_SCANNED = 3 << 26
"""Bytes of a scan up to which `auto` reads all, whatever recall will do: 6,291,456 faces of 512 numbers, in 25 to 30 ms."""
SAMPLE = 16384
"""Vectors that a quantiser learns from."""
CANDIDATES = 1024
"""Rows that a scan hands on to be compared again by the store, at least."""
TABLES = 16
"""Bytes a face of the tables beside the vectors: face number and person number."""
LISTED = 16
"""And of those that say in which list a face is, and where there."""
STORE_BYTES: dict[Store, int] = {"none": 0, "flat": 4, "fp16": 2, "sq8": 1}
"""Bytes a number takes in each store."""
RECALL = 0.995
"""How often the nearest person is found where lists are read and nobody says how often."""


class Kind(Struct, frozen=True):
    """What an index is made of."""

    scan: Scan
    """What is read for every face, "none": the store itself."""
    store: Store
    """What the best of the scan are compared by, "none": the database."""
    lists: bool = False
    """Whether what is read is in lists, of which a search reads only the nearest."""

    @property
    def exhaustive(self) -> bool:
        """Whether a search compares every row, so that none better than its last lies outside its answer."""
        return self.scan == "none" and not self.lists


KINDS: dict[str, Kind] = {
    FLAT: Kind("none", "flat"),
    "fp16": Kind("none", "fp16"),
    "sq8": Kind("none", "sq8"),
    "pq-fp16": Kind("pq", "fp16"),
    "pq-sq8": Kind("pq", "sq8"),
    "pq-exact": Kind("pq", "none"),
    "rabitq-fp16": Kind("rabitq", "fp16"),
    "rabitq-sq8": Kind("rabitq", "sq8"),
    "rabitq-exact": Kind("rabitq", "none"),
    "ivf-fp16": Kind("none", "fp16", lists=True),
    "ivf-sq8": Kind("none", "sq8", lists=True),
    "ivf-pq-sq8": Kind("pq", "sq8", lists=True),
}
_AUTOMATIC = (FLAT, "pq-sq8", "ivf-pq-sq8", "pq-exact")
"""What `auto` chooses from: the first that is quick enough and fits, the last if none does; lists if a recall is stated."""


def subquantisers(dim: int) -> int:
    """How many 4-bit codes a product-quantised vector has."""
    most = min(dim, max(64, dim // 8))
    return next(m for m in range(most, 0, -1) if dim % m == 0)


def store_bytes(kind: str, dim: int) -> int:
    """Bytes a vector takes in the store."""
    return STORE_BYTES[KINDS[kind].store] * dim


def scan_bytes(kind: str, dim: int) -> int:
    """Bytes a vector takes in the scan."""
    match KINDS[kind].scan:
        case "pq":
            return (subquantisers(dim) + 1) // 2
        case "rabitq":
            return (dim + 7) // 8 + 8
        case "none":
            return 0


def bytes_per_vector(kind: str, dim: int) -> int:
    """Memory for one face: vector, face number, person number, place in a list."""
    return store_bytes(kind, dim) + scan_bytes(kind, dim) + TABLES + (LISTED if KINDS[kind].lists else 0)


def list_count(faces: int) -> int:
    """How many lists an index made of so many faces has: the power of two next to twice the root, 16 to 65,536."""
    return 1 << min(16, max(4, round(math.log2(2 * math.sqrt(max(1, faces))))))


def sample_size(kind: str, faces: int) -> int:
    """How many vectors the kind learns from: for lists, 32 for each."""
    return max(SAMPLE, 32 * list_count(faces)) if KINDS[kind].lists else SAMPLE


def spelled(kind: str, recall: float | None) -> str:
    """Return what a gallery stores of kind and recall; checked. Raises UnknownKind, and ValueError for the recall."""
    check(kind)
    if recall is None:
        return kind
    if kind != AUTO and not KINDS[kind].lists:
        listed = ", ".join(name for name, parts in KINDS.items() if parts.lists)
        raise ValueError(f"a recall can be asked of {AUTO} and of kinds with lists ({listed}), not of {kind}")
    if not 0.5 <= recall < 1:
        raise ValueError(f"the recall is a share from 0.5 to below 1, not {recall}")
    return f"{kind} {recall!r}"


def read(stored: str) -> tuple[str, float | None]:
    """Return kind and recall, none if nobody stated one, of what a gallery stores, as `spelled` made it."""
    kind, _, recall = stored.partition(" ")
    check(kind)
    return kind, float(recall) if recall else None


def choose(
    wanted: str, faces: int, dim: int, memory: int | None, now: str | None = None, *, lists: bool = False
) -> str:
    """Return the kind for a gallery of `faces` that was told to use `wanted`, a kind or "auto".

    `memory` bounds the bytes that "auto" may use, `lists` says whether it may miss some people. An index that is there
    already, of kind `now`, is kept until the gallery has shrunk to half of what would have brought it about, so that a
    gallery at a border does not go to and fro.
    """
    if wanted != AUTO:
        check(wanted)
        return FLAT if faces < (FEWEST if now in (None, FLAT) else FEWEST // 2) else wanted
    if faces < FEWEST // 2:
        return FLAT
    ranked = [kind for kind in _AUTOMATIC if lists or not KINDS[kind].lists]
    best = next((kind for kind in ranked if _suits(kind, faces, dim, memory, lists)), ranked[-1])
    if faces < FEWEST and now is None:
        return FLAT
    if now in ranked and ranked.index(now) > ranked.index(best):
        return now if not _suits(best, 2 * faces, dim, memory, lists) else best
    return best


def _suits(kind: str, faces: int, dim: int, memory: int | None, lists: bool) -> bool:
    match kind:
        case "flat":
            quick = faces * dim <= MOST_FLAT
        case "pq-sq8":
            quick = not lists or faces * scan_bytes(kind, dim) <= MOST_SCANNED
        case _:
            quick = True
    return quick and (memory is None or faces * bytes_per_vector(kind, dim) <= memory)


def check(kind: str) -> None:
    """Raise UnknownKind for what is neither a kind nor "auto"."""
    if kind != AUTO and kind not in KINDS:
        raise UnknownKind(f"{kind!r} is no kind of index; there are {AUTO}, {', '.join(KINDS)}")
