"""Vectors as codes, and the searches over them; the only file that knows FAISS.

Rows are numbered without gaps. FAISS's own removal rebuilds or shifts everything behind a gap; here the caller moves
the last rows into the gaps and cuts the end off, so removing costs little more than what is removed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from vultus.index import kinds

_SIGMAS = 6.0
LIST_PARAMETERS = 4
"""How many numbers stand before ranges and centroids in the parameters of `Lists`."""
_SLACK = 0.1
"""Of the range that the sample spans, added on either side: what comes later lies in it, but for one in millions."""
_SPARE = 16
"""One in so many rows is left as room for additions."""


_BITS = {"fp16": faiss.ScalarQuantizer.QT_fp16, "sq8": faiss.ScalarQuantizer.QT_8bit}


def _error(sample: np.ndarray, decoded: np.ndarray) -> float:
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
            self._index = faiss.IndexScalarQuantizer(dim, _BITS[store], faiss.METRIC_INNER_PRODUCT)
            self._index.sq.rangestat_arg = _SLACK
        self._count = 0
        self.code_size = int(self._index.code_size)
        self.error = 0.0
        """How far, all but never exceeded, a similarity of this store is from that of the vectors."""

    @property
    def codes(self) -> np.ndarray:
        """The codes, `(n, code_size)` uint8; a view that the next change makes stale."""
        if not self._count:
            return np.empty((0, self.code_size), np.uint8)
        memory: np.ndarray = faiss.rev_swig_ptr(self._index.codes.data(), self._count * self.code_size)
        return memory.reshape(self._count, self.code_size)

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
            self.error = _error(sample, self._index.sa_decode(self._index.sa_encode(sample)))

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""
        self._index.add(vectors)
        self._count += len(vectors)

    def room(self, count: int) -> Iterator[np.ndarray]:
        """Yield the place of the codes of `count` rows, to be filled, as `codes` of another; this one is empty so far.

        FAISS moves everything where an addition finds no room, so some is left, which for a moment takes twice the memory.
        """
        self._index.codes.resize((count + count // _SPARE) * self.code_size)
        self._index.codes.resize(count * self.code_size)
        self._index.ntotal = self._count = count
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
        self._index.codes.resize(kept * self.code_size)
        self._index.ntotal = self._count = kept

    def search(self, probes: np.ndarray, count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Read every row, or those of the mask `allowed`; see `VectorIndex.search`."""
        parameters: Any = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParameters()
            parameters.sel = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
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


class Lists:
    """Codes as of a `Store`, in lists around centroids, of which a search reads those nearest to the probe (IVF).

    A list holds codes and their rows in no order; `_list` and `_place` say where a row is.
    """

    def __init__(self, dim: int, store: kinds.Store) -> None:
        self.dim = dim
        self.count = 0
        """How many lists; to be set before `train`."""
        self.code_size = kinds.STORE_BYTES[store] * dim
        self.error = 0.0
        """As `Store.error`."""
        self.wanted = self.measured = 1.0
        """Share of faces whose nearest person is to be found in the lists that are read, and is, as far as measured."""
        self._probed = 1
        self._bits = _BITS[store]
        self._index: Any = None
        self._quantiser: Any = None
        self._list = np.empty(0, np.int32)
        self._place = np.empty(0, np.int32)
        self._rows = 0

    def _create(self, lists: int) -> None:
        self.count = lists
        self._quantiser = faiss.IndexFlatIP(self.dim)
        self._index = faiss.IndexIVFScalarQuantizer(
            self._quantiser, self.dim, lists, self._bits, faiss.METRIC_INNER_PRODUCT, False
        )
        self._index.sq.rangestat_arg = _SLACK
        self._index.cp.niter, self._index.cp.spherical, self._index.cp.min_points_per_centroid = 10, True, 1
        self.sizes = np.zeros(lists, np.int64)
        """Rows of each list."""

    @property
    def parameters(self) -> np.ndarray:
        """What was learned, float32: error, recall wanted and measured, lists read; ranges (sq8); centroids."""
        head = np.array([self.error, self.wanted, self.measured, self._probed], np.float32)
        ranges = faiss.vector_to_array(self._index.sq.trained)
        centroids = self._quantiser.reconstruct_n(0, self.count).ravel()
        return np.concatenate((head, ranges, centroids))

    @parameters.setter
    def parameters(self, learned: np.ndarray) -> None:
        ranges = 2 * self.dim if self._bits == faiss.ScalarQuantizer.QT_8bit else 0
        head, trained, centroids = np.split(learned, [LIST_PARAMETERS, LIST_PARAMETERS + ranges])
        if not (np.isfinite(head).all() and 1 <= head[3] <= len(centroids) // self.dim):
            raise ValueError("its parameters are no numbers, or say that more lists are read than there are")
        self._create(len(centroids) // self.dim)
        self.error, self.wanted, self.measured = (round(float(number), 7) for number in head[:3])
        self._probed = int(head[3])
        faiss.copy_array_to_vector(np.ascontiguousarray(trained), self._index.sq.trained)
        self._quantiser.add(np.ascontiguousarray(centroids).reshape(-1, self.dim))
        self._index.is_trained = True

    def train(self, sample: np.ndarray) -> None:
        """Learn centroids and ranges from vectors `(n, dim)` like those to come, more than there are lists."""
        self._create(self.count)
        self._index.train(sample)
        few = sample[:16384]
        self.error = _error(few, self._index.sq.decode(self.encode(few)))

    def settle(self, recall: float, probes: np.ndarray, wanted: list[np.ndarray]) -> None:
        """Read as many lists as it takes for the share `recall` of `probes` to find one of its rows in `wanted`."""
        self.wanted, self.measured, self._probed = recall, 1.0, self.count
        if wanted:
            _, order = self._quantiser.search(probes, self.count)
            place = np.argsort(order, axis=1)  # of each list in the order of a probe
            rank = np.sort([of[self._list[rows]].min() for of, rows in zip(place, wanted, strict=True)])
            self._probed = int(rank[int(np.ceil(recall * len(rank))) - 1]) + 1
            self.measured = float(np.mean(rank < self._probed))

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        lists = self._quantiser.search(vectors, 1)[1].ravel()
        rows = np.arange(self._rows, self._rows + len(vectors))
        self._index.add_core(
            len(rows), faiss.swig_ptr(vectors), faiss.swig_ptr(rows), faiss.swig_ptr(np.ascontiguousarray(lists))
        )
        self._note(lists)
        self._index.ntotal = self._rows

    def _note(self, lists: np.ndarray) -> None:
        """Note where rows are that were appended to `lists`, in this order."""
        start, end = self._rows, self._rows + len(lists)
        if end > len(self._list):
            room = max(end, len(self._list) * 3 // 2) - start
            self._list, self._place = (
                np.concatenate((table[:start], np.zeros(room, np.int32))) for table in (self._list, self._place)
            )
        order = np.argsort(lists, kind="stable")
        touched, first, added = np.unique(lists[order], return_index=True, return_counts=True)
        self._list[start:end] = lists
        behind = np.arange(len(lists)) - np.repeat(first, added)
        self._place[start:end][order] = np.repeat(self.sizes[touched], added) + behind
        self.sizes[touched] += added
        self._rows = end

    def contents(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the rows list by list, and their codes: a view for each list, stale after the next change."""
        parts = [self._view(at) for at in range(self.count)]
        return np.concatenate([rows for rows, _ in parts]), [codes for _, codes in parts]

    def room(self, sizes: np.ndarray, count: int) -> Iterator[np.ndarray]:
        """Yield list by list the place of codes, to be filled, as in the `contents` of another; this one is empty so far.

        Rows count from 0 in that order. Raises ValueError.
        """
        if ((sizes < 0) | (sizes > count)).any() or sizes.sum() != count:
            raise ValueError("its lists have other lengths than its faces fill")
        self._note(np.repeat(np.arange(len(sizes)), sizes))
        self._index.ntotal = count
        ends = np.cumsum(sizes)
        for at in np.flatnonzero(sizes).tolist():
            self._index.invlists.resize(at, int(sizes[at]))
            rows, codes = self._view(at)
            rows[:] = np.arange(ends[at] - sizes[at], ends[at])
            yield codes

    def _view(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and codes of a list."""
        size = int(self.sizes[at])
        if not size:
            return np.empty(0, np.int64), np.empty((0, self.code_size), np.uint8)
        rows: np.ndarray = faiss.rev_swig_ptr(self._index.invlists.get_ids(at), size)
        codes: np.ndarray = faiss.rev_swig_ptr(self._index.invlists.get_codes(at), size * self.code_size)
        return rows, codes.reshape(size, self.code_size)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""
        out = np.empty((len(rows), self.code_size), np.uint8)
        bases = {at: self._view(at)[1].ctypes.data for at in np.unique(self._list[rows]).tolist()}
        where = zip(self._list[rows].tolist(), self._place[rows].tolist(), strict=True)
        for to, (at, place) in zip(out, where, strict=True):
            ctypes.memmove(to.ctypes.data, bases[at] + place * self.code_size, self.code_size)
        return out

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`."""
        codes: np.ndarray = self._index.sq.compute_codes(np.ascontiguousarray(vectors, np.float32))
        return codes

    def move(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Give the rows `movers` the numbers `holes`, and forget all other rows from `kept` on and those of `holes`."""
        alive = np.zeros(self._rows, bool)
        alive[:kept] = True
        alive[holes] = False
        alive[movers] = True
        for at in np.unique(self._list[: self._rows][~alive]).tolist():
            rows, codes = self._view(at)
            stays = alive[rows]
            left = rows[stays]
            rows[: len(left)], codes[: len(left)] = left, codes[stays]
            codes[len(left) :] = 0
            self._place[left] = np.arange(len(left))
            self.sizes[at] = len(left)
            self._index.invlists.resize(at, len(left))
        self._list[holes], self._place[holes] = self._list[movers], self._place[movers]
        for hole in holes.tolist():
            self._view(int(self._list[hole]))[0][self._place[hole]] = hole
        self._index.ntotal = self._rows = kept

    def search(self, probes: np.ndarray, count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Read the nearest lists, of the mask `allowed` only; see `VectorIndex.search`.

        Of more rows asked for, and of fewer that are allowed, more lists: four times what would do on average.
        """
        admitted = self._rows if allowed is None else int(np.count_nonzero(allowed))
        enough = 4 * count / max(1, admitted)
        share = max(enough, self._probed / self.count * self._rows / max(1, admitted))
        settings: Any = faiss.SearchParametersIVF()
        settings.nprobe = min(self.count, int(np.ceil(share * self.count)))
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            settings.sel = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        similarities, rows = self._index.search(probes, count, params=settings)
        return similarities, rows


class Scan:
    """A few bits of each row, packed in blocks of 32 rows so that they are read at memory speed."""

    def __init__(self, dim: int, scan: kinds.Scan) -> None:
        self.dim = dim
        self._scan = scan
        self._index: Any
        if scan == "pq":
            self._index = faiss.IndexPQFastScan(dim, kinds.subquantisers(dim), 4, faiss.METRIC_INNER_PRODUCT)
        else:
            self._index = faiss.IndexRaBitQFastScan(dim, faiss.METRIC_INNER_PRODUCT)
        self._packer = self._index.get_CodePacker()
        self.code_size = int(self._packer.code_size)
        self.error = 0.0
        """As `Store.error`, of the scan alone."""

    @property
    def blocks(self) -> np.ndarray:
        """The packed codes, `(blocks, bytes)` uint8; a view that the next change makes stale."""
        size = int(self._index.codes.size())
        if not size:
            return np.empty((0, self._packer.block_size), np.uint8)
        memory: np.ndarray = faiss.rev_swig_ptr(self._index.codes.get(), size)
        return memory.reshape(-1, self._packer.block_size)

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

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""
        blocks, out = self.blocks, np.empty((len(rows), self.code_size), np.uint8)
        for at, row in enumerate(rows.tolist()):
            out[at] = self._packer.unpack_1(blocks[row // 32 :][:1], row % 32)
        return out

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Return about the vectors of the given rows, `(n, dim)` float32."""
        vectors: np.ndarray = self._index.sa_decode(self.codes(rows))
        return vectors

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`, as `codes` returns those of rows."""
        other = type(self)(self.dim, self._scan)
        other.parameters = self.parameters
        other.add(vectors)
        return other.codes(np.arange(len(vectors)))

    def move(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Put the rows `movers` into the rows `holes`, and forget all rows from `kept` on."""
        blocks = self.blocks
        for hole, code in zip(holes.tolist(), self.codes(movers), strict=True):
            self._packer.pack_1(code, hole % 32, blocks[hole // 32 :][:1])
        nothing = np.zeros(self.code_size, np.uint8)
        for row in range(kept, min(-(-kept // 32) * 32, self._index.ntotal)):  # adding sets bits and clears none
            self._packer.pack_1(nothing, row % 32, blocks[row // 32 :][:1])
        self._resize(kept)

    def refined(self, store: Store, probes: np.ndarray, count: int, candidates: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of each probe that are best by `store` among the `candidates` best of the scan.

        The same as `search` and `Store.compare` one after the other, in one call and a fraction of the time.
        """
        both = faiss.IndexRefine(self._index, store._index)
        settings = faiss.IndexRefineSearchParameters()
        settings.k_factor = candidates / count
        similarities, rows = both.search(probes, count, params=settings)
        return similarities, rows

    def search(self, probes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the best `count` rows of each probe, as `(n, count)` similarities and rows; -1 where there are none."""
        similarities, rows = self._index.search(probes, count)
        return similarities, rows

    def _resize(self, count: int) -> None:
        blocks = -(-count // 32)
        self._index.codes.resize(blocks * self._packer.block_size)
        self._index.ntotal, self._index.ntotal2 = count, 32 * blocks


def parameter_counts(kind: str, dim: int) -> tuple[int, int]:
    """Return how many numbers the parameters of store and scan of a kind have."""
    parts = kinds.KINDS[kind]
    store = {"none": 0, "flat": 1, "fp16": 1, "sq8": 1 + 2 * dim}[parts.store]
    return store, {"none": 0, "pq": 1 + 16 * dim, "rabitq": 1 + dim}[parts.scan]


def set_threads(count: int) -> None:
    """Let each search of this process use so many threads; FAISS takes all processors otherwise."""
    faiss.omp_set_num_threads(count)
