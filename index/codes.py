"""Vectors as codes, and the searches over all of them; with `vultus.index.lists` the border to FAISS.

Rows are numbered without gaps. FAISS's own removal rebuilds or shifts everything behind a gap; here the caller moves
the last rows into the gaps and cuts the end off, so removing costs little more than what is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from vultus.index import kinds
from vultus.index.packing import move, unpacked

_SIGMAS = 6.0
SLACK = 0.1
"""Of the range that the sample spans, added on either side: what comes later lies in it, but for one in millions."""
_SPARE = 2
"""So many times the memory that is needed is asked for. The system gives what is written to, so that the rest costs nothing."""
_PASSES = 0x2222
"""A digit for each pass over the codes: how many probes it compares. FAISS would take three or four, for which AVX2 has too few
registers: batches take a fifth longer then. RaBitQ's scan answers wrongly with another number than its own (FAISS 1.15)."""
_NOTHING: Any = faiss.MaybeOwnedVectorUInt8()
"""Whose owner says to FAISS that there is nothing to give back."""


BITS = {"fp16": faiss.ScalarQuantizer.QT_fp16, "sq8": faiss.ScalarQuantizer.QT_8bit}


def loss(sample: np.ndarray, decoded: np.ndarray) -> float:
    """How far, all but never exceeded, similarities to decoded vectors `(n, dim)` are from those to the sample."""
    # The part of a vector that is lost points anywhere: of a probe of length 1 it meets 1 / sqrt(dim).
    lost = np.linalg.norm(sample - decoded, axis=1)
    return float(_SIGMAS * np.sqrt(np.mean(lost**2) / sample.shape[1]))


class Store:
    """A row's vector in 32, 16 or 8 bits a number, one after the other."""

    def __init__(self, dim: int, store: kinds.Store) -> None:
        self.dim = dim
        self._store = store
        self._index: Any  # what FAISS generates has no types worth the name
        if store == "flat":
            self._index = faiss.IndexFlatIP(dim)
        else:
            self._index = faiss.IndexScalarQuantizer(dim, BITS[store], faiss.METRIC_INNER_PRODUCT)
            self._index.sq.rangestat_arg = SLACK
        self._count = 0
        self._memory = np.empty(0, np.uint8)
        self.code_size = int(self._index.code_size)
        self.error = 0.0
        """How far, all but never exceeded, a similarity of this store is from that of the vectors."""

    @property
    def codes(self) -> np.ndarray:
        """The codes, `(n, code_size)` uint8; a view that the next change makes stale."""
        return self._memory[: self._count * self.code_size].reshape(self._count, self.code_size)

    @property
    def parameters(self) -> np.ndarray:
        """What was learned from a sample, float32: the error, and with 8 bits least number and range of each place."""
        if self._store != "sq8":
            return np.array([self.error], np.float32)
        return np.concatenate((np.array([self.error], np.float32), faiss.vector_to_array(self._index.sq.trained)))

    @parameters.setter
    def parameters(self, learned: np.ndarray) -> None:
        self.error = float(learned[0])
        if self._store == "sq8":
            faiss.copy_array_to_vector(np.ascontiguousarray(learned[1:], np.float32), self._index.sq.trained)
        self._index.is_trained = True

    def train(self, sample: np.ndarray) -> None:
        """Learn ranges from vectors `(n, dim)` like those to come."""
        self._index.train(sample)
        if self._store != "flat":
            self.error = loss(sample, self._index.sa_decode(self._index.sa_encode(sample)))

    def reserve(self, count: int) -> None:
        """Have room for `count` rows without moving any."""
        if count * self.code_size > len(self._memory):
            memory = np.empty(count * self.code_size, np.uint8)
            memory[: self.codes.size] = self.codes.ravel()
            self._memory = memory
            self._resize(self._count)

    def _resize(self, count: int) -> None:
        # The memory is ours: FAISS's own would be filled with zeros first, in small pages.
        size = count * self.code_size
        self._index.codes = _NOTHING.create_view(faiss.swig_ptr(self._memory), size, _NOTHING.owner)
        self._index.ntotal = self._count = count

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""
        before, count = self._count, self._count + len(vectors)
        if count * self.code_size > len(self._memory):
            self.reserve(_SPARE * count)
        self._resize(count)
        self.codes[before:] = self.encode(vectors)

    def room(self, count: int) -> Iterator[np.ndarray]:
        """Yield the place of the codes of `count` rows, to be filled, as `codes` of another; this one is empty so far."""
        self.reserve(_SPARE * count)
        self._resize(count)
        yield self.codes

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""
        codes: np.ndarray = self.codes[rows]
        return codes

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`."""
        codes: np.ndarray = self._index.sa_encode(vectors)
        return codes

    def move(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Put the rows `movers` into the rows `holes`, and forget all rows from `kept` on."""
        table = self.codes
        table[holes] = table[movers]
        self._resize(kept)

    def search(self, probes: np.ndarray, count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Read every row, or those of the mask `allowed`; see `VectorIndex.search`."""
        parameters: Any = None
        if allowed is not None:
            parameters = faiss.SearchParameters()
            parameters.sel = selector(allowed)
        similarities, rows = self._index.search(probes, count, params=parameters)
        return similarities, rows

    def compare(self, probe: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the similarity of one probe to the given rows, float32, within `error`."""
        codes = self.codes[rows]
        if self._store == "sq8":  # a number is least + (code + 1/2) / 255 · range
            least, extent = faiss.vector_to_array(self._index.sq.trained).reshape(2, self.dim)
            scaled = probe * extent / np.float32(255)
            similarities: np.ndarray = codes.astype(np.float32) @ scaled + (probe @ least + scaled.sum() / 2)
            return similarities
        numbers = codes.view(np.float16 if self._store == "fp16" else np.float32)
        return np.asarray(numbers.astype(np.float32, copy=False) @ probe)


class Scan:
    """A few bits of each row, packed in blocks of 32 rows so that they are read at memory speed."""

    def __init__(self, dim: int, scan: kinds.Scan) -> None:
        self.dim = dim
        self._scan = scan
        self._index: Any
        if scan == "pq":
            self._index = faiss.IndexPQFastScan(dim, kinds.subquantisers(dim), 4, faiss.METRIC_INNER_PRODUCT)
            self._index.qbs = _PASSES
        else:
            self._index = faiss.IndexRaBitQFastScan(dim, faiss.METRIC_INNER_PRODUCT)
        self._packer = self._index.get_CodePacker()
        self.code_size = int(self._packer.code_size)
        self.error = 0.0
        """As `Store.error`, of the scan alone."""

    @property
    def blocks(self) -> np.ndarray:
        """The packed codes, `(blocks, bytes)` uint8; a view that the next change makes stale."""
        return blocks_at(
            self._packer, self._index.codes.get(), int(self._index.codes.size()) // self._packer.block_size
        )

    @property
    def parameters(self) -> np.ndarray:
        """What was learned from a sample, float32: the error, then centroids (pq) or the centre (rabitq)."""
        learned = self._index.pq.centroids if self._scan == "pq" else self._index.center
        return np.concatenate((np.array([self.error], np.float32), faiss.vector_to_array(learned)))

    @parameters.setter
    def parameters(self, learned: np.ndarray) -> None:
        self.error = float(learned[0])
        place = self._index.pq.centroids if self._scan == "pq" else self._index.center
        faiss.copy_array_to_vector(np.ascontiguousarray(learned[1:], np.float32), place)
        self._index.is_trained = True

    def train(self, sample: np.ndarray) -> None:
        """Learn from vectors `(n, dim)` like those to come; the same sample gives the same codes."""
        self._index.train(sample)
        tried = sample[: min(len(sample), 4096)]
        other = type(self)(self.dim, self._scan)
        other.parameters = np.concatenate((np.zeros(1, np.float32), self.parameters[1:]))
        other.add(tried)
        probes = tried[:: max(1, len(tried) // 16)]
        rough, rows = other.search(probes, len(tried))
        exact = np.take_along_axis(probes @ tried.T, np.maximum(rows, 0), axis=1)
        self.error = float(_SIGMAS * np.sqrt(np.mean((rough - exact)[rows >= 0] ** 2)))

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""
        self._index.add(vectors)

    def room(self, count: int) -> Iterator[np.ndarray]:
        """Yield the place of the packed codes of `count` rows, to be filled, as `blocks` of another."""
        self._resize(count)
        yield self.blocks

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""
        return unpacked(self._packer, self.blocks, rows)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Return about the vectors of the given rows, `(n, dim)` float32."""
        vectors: np.ndarray = self._index.sa_decode(self.take(rows))
        return vectors

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`, as `take` returns those of rows."""
        other = type(self)(self.dim, self._scan)
        other.parameters = self.parameters
        other.add(vectors)
        return other.take(np.arange(len(vectors)))

    def move(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Put the rows `movers` into the rows `holes`, and forget all rows from `kept` on."""
        move(self._packer, self.blocks, holes, movers, kept)
        self._resize(kept)

    def refined(self, store: Store, probes: np.ndarray, count: int, candidates: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of each probe that are best by `store` among the `candidates` best of the scan.

        The same as `search` and `Store.compare` one after the other, in one call and a fraction of the time.
        """
        return refined(self._index, store, probes, count, candidates)

    def search(self, probes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the best `count` rows of each probe, as `(n, count)` similarities and rows; -1 where there are none."""
        similarities, rows = self._index.search(probes, count)
        return similarities, rows

    def _resize(self, count: int) -> None:
        blocks = -(-count // 32)
        self._index.codes.resize(blocks * self._packer.block_size)
        self._index.ntotal, self._index.ntotal2 = count, 32 * blocks


def selector(allowed: np.ndarray) -> Any:
    """Return what tells FAISS to look at the rows of the mask only."""
    bits = np.packbits(allowed, bitorder="little")
    chosen: Any = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    chosen.bits = bits  # of which FAISS has the address only
    return chosen


def blocks_at(packer: Any, place: Any, count: int) -> np.ndarray:
    """The packed codes that begin at `place`, `(count, bytes)` uint8."""
    if not count:
        return np.empty((0, packer.block_size), np.uint8)
    memory: np.ndarray = faiss.rev_swig_ptr(place, count * packer.block_size)
    return memory.reshape(count, packer.block_size)


def refined(
    scan: Any, store: Store, probes: np.ndarray, count: int, candidates: int, settings: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Search with FAISS's index `scan` and its settings; see `Scan.refined`."""
    refine = faiss.IndexRefineSearchParameters()
    refine.k_factor = candidates / count
    refine.base_index_params = settings
    similarities, rows = faiss.IndexRefine(scan, store._index).search(probes, count, params=refine)
    return similarities, rows


def parameter_counts(kind: str, dim: int) -> tuple[int, int]:
    """Return how many numbers the parameters of store and scan of a kind have."""
    parts = kinds.KINDS[kind]
    store = {"none": 0, "flat": 1, "fp16": 1, "sq8": 1 + 2 * dim}[parts.store]
    return store, {"none": 0, "pq": 1 + 16 * dim, "rabitq": 1 + dim}[parts.scan]


def set_threads(count: int) -> None:
    """Let each search from the calling thread use so many threads; FAISS takes all processors otherwise."""
    faiss.omp_set_num_threads(count)
