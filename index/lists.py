"""Vectors as codes in lists, of which a search reads some; with `vultus.index.codes` the border to FAISS."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

from vultus.index import kinds
from vultus.index.codes import BITS, SLACK, Store, blocks_at, loss, refined, selector
from vultus.index.packing import move, pack
from vultus.index.places import Places, gaps

LIST_PARAMETERS = 4
"""How many numbers stand before those of the codes and the centroids in the parameters of `Lists`."""


class Lists(ABC):
    """Codes in lists around centroids, of which a search reads those nearest to the probe (IVF).

    A list holds codes and their rows in no order; `Places` says where a row is.
    """

    def __init__(self, dim: int, code_size: int, learned: int) -> None:
        self.dim = dim
        self.code_size = code_size
        self.count = 0
        """How many lists; to be set before `train`."""
        self.error = 0.0
        """As `Store.error`."""
        self.wanted = self.measured = 1.0
        """Share of faces whose nearest person is to be found in the lists that are read, and is, as far as measured."""
        self._probed = 1
        self._learns = learned
        self._index: Any = None
        self._quantiser: Any = None
        self._places = Places(0)

    @abstractmethod
    def _made(self) -> Any:
        """Return an index of FAISS's with `count` lists around the centroids of `_quantiser`."""

    @abstractmethod
    def _learned(self) -> Any:
        """FAISS's vector of what was learned beside the centroids, `_learns` numbers."""

    @abstractmethod
    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`."""

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""

    @abstractmethod
    def _codes(self, at: int) -> np.ndarray:
        """The codes of a list, as they lie there; a view that the next change makes stale."""

    @abstractmethod
    def _shift(self, at: int, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Put the codes at the places `movers` of a list into the `holes`, and clear those from `kept` on."""

    def _create(self, lists: int) -> None:
        self.count = lists
        self._quantiser = faiss.IndexFlatIP(self.dim)
        self._index = self._made()
        self._index.cp.niter, self._index.cp.spherical, self._index.cp.min_points_per_centroid = 10, True, 1
        self._places = Places(lists)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each list, `(lists,)` int64."""
        return self._places.sizes

    @property
    def parameters(self) -> np.ndarray:
        """What was learned, float32: error, recall wanted and measured, lists read; what the codes need; centroids."""
        head = np.array([self.error, self.wanted, self.measured, self._probed], np.float32)
        centroids = self._quantiser.reconstruct_n(0, self.count).ravel()
        return np.concatenate((head, faiss.vector_to_array(self._learned()), centroids))

    @parameters.setter
    def parameters(self, learned: np.ndarray) -> None:
        head, trained, centroids = np.split(learned, [LIST_PARAMETERS, LIST_PARAMETERS + self._learns])
        if not (np.isfinite(head).all() and 1 <= head[3] <= len(centroids) // self.dim):
            raise ValueError("its parameters are no numbers, or say that more lists are read than there are")
        self._create(len(centroids) // self.dim)
        self.error, self.wanted, self.measured = (round(float(number), 7) for number in head[:3])
        self._probed = int(head[3])
        faiss.copy_array_to_vector(np.ascontiguousarray(trained), self._learned())
        self._quantiser.add(np.ascontiguousarray(centroids).reshape(-1, self.dim))
        self._index.is_trained = True

    def train(self, sample: np.ndarray) -> None:
        """Learn centroids and codes from vectors `(n, dim)` like those to come, more than there are lists."""
        self._create(self.count)
        self._index.train(sample)

    def settle(self, recall: float, probes: np.ndarray, wanted: list[np.ndarray]) -> None:
        """Read as many lists as it takes for the share `recall` of `probes` to find one of its rows in `wanted`."""
        self.wanted, self.measured, self._probed = recall, 1.0, self.count
        if wanted:
            _, order = self._quantiser.search(probes, self.count)
            place = np.argsort(order, axis=1)  # of each list in the order of a probe
            rank = np.sort([of[self._places.of(rows)[0]].min() for of, rows in zip(place, wanted, strict=True)])
            self._probed = int(rank[int(np.ceil(recall * len(rank))) - 1]) + 1
            self.measured = float(np.mean(rank < self._probed))

    def widen(self, missed: Callable[[], int], probes: int) -> None:
        """Read more lists until of so many probes no more than the share that was settled on is `missed`, or all are read.

        For codes that lose some of what the lists hold: `missed` counts the probes that did not find what was wanted.
        """
        self.measured = 1 - missed() / probes
        while self.measured < self.wanted and self._probed < self.count:
            self._probed = min(self.count, self._probed + self._probed // 2 + 1)
            self.measured = 1 - missed() / probes

    def contents(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the rows list by list, and the codes of each list: views, stale after the next change."""
        rows = [self._rows(at) for at in range(self.count)]
        return np.concatenate(rows), [self._codes(at) for at in range(self.count)]

    def room(self, sizes: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield list by list the place of codes, to be filled, as in the `contents` of another; this one is empty so far.

        `rows` are the others' rows, list by list. Raises ValueError.
        """
        self._places.fill(sizes, rows)
        self._index.ntotal = len(rows)
        ends = np.cumsum(sizes)
        for at in np.flatnonzero(sizes).tolist():
            self._index.invlists.resize(at, int(sizes[at]))
            self._rows(at)[:] = rows[ends[at] - sizes[at] : ends[at]]
            yield self._codes(at)

    def _rows(self, at: int) -> np.ndarray:
        """The rows of a list, int64; a view that the next change makes stale."""
        size = int(self.sizes[at])
        if not size:
            return np.empty(0, np.int64)
        rows: np.ndarray = faiss.rev_swig_ptr(self._index.invlists.get_ids(at), size)
        return rows

    def move(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Give the rows `movers` the numbers `holes`, and forget all other rows from `kept` on and those of `holes`."""
        for at, gone in self._places.gone(holes, movers, kept):
            to, of, left = gaps(int(self.sizes[at]), gone)
            self._shift(at, to, of, left)
            rows = self._rows(at)
            rows[to] = rows[of]
            self._places.cut(at, left, rows[to], to)
            self._index.invlists.resize(at, left)
        lists, places = self._places.of(movers)
        for at, place, hole in zip(lists.tolist(), places.tolist(), holes.tolist(), strict=True):
            self._rows(at)[place] = hole
        self._places.renumber(holes, movers, kept)
        self._index.ntotal = kept

    def _nearest(self, count: int, allowed: np.ndarray | None) -> Any:
        """Return FAISS's settings of a search for `count` rows, of the mask `allowed` only.

        Of more rows asked for, and of fewer that are allowed, more lists: four times what would do on average.
        """
        admitted = len(self._places) if allowed is None else int(np.count_nonzero(allowed))
        enough = 4 * count / max(1, admitted)
        share = max(enough, self._probed / self.count * len(self._places) / max(1, admitted))
        settings: Any = faiss.SearchParametersIVF()
        settings.nprobe = min(self.count, int(np.ceil(share * self.count)))
        if allowed is not None:
            settings.sel = selector(allowed)
        return settings


class StoreLists(Lists):
    """Lists of 16 or 8 bits a number."""

    def __init__(self, dim: int, store: kinds.Store) -> None:
        super().__init__(dim, kinds.STORE_BYTES[store] * dim, 2 * dim if store == "sq8" else 0)
        self._bits = BITS[store]

    def _made(self) -> Any:
        made = faiss.IndexIVFScalarQuantizer(
            self._quantiser, self.dim, self.count, self._bits, faiss.METRIC_INNER_PRODUCT, False
        )
        made.sq.rangestat_arg = SLACK
        return made

    def _learned(self) -> Any:
        return self._index.sq.trained

    def train(self, sample: np.ndarray) -> None:
        """Learn centroids and ranges."""
        super().train(sample)
        few = sample[:16384]
        self.error = loss(few, self._index.sq.decode(self.encode(few)))

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`."""
        codes: np.ndarray = self._index.sq.compute_codes(np.ascontiguousarray(vectors, np.float32))
        return codes

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        lists = np.ascontiguousarray(self._quantiser.search(vectors, 1)[1].ravel())
        rows = np.arange(len(self._places), len(self._places) + len(vectors))
        self._index.add_core(len(rows), faiss.swig_ptr(vectors), faiss.swig_ptr(rows), faiss.swig_ptr(lists))
        self._places.append(lists)
        self._index.ntotal = len(self._places)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""
        out = np.empty((len(rows), self.code_size), np.uint8)
        lists, places = self._places.of(rows)
        codes = {at: self._codes(at) for at in np.unique(lists).tolist()}
        for to, at, place in zip(out, lists.tolist(), places.tolist(), strict=True):
            to[:] = codes[at][place]
        return out

    def _codes(self, at: int) -> np.ndarray:
        size = int(self.sizes[at])
        if not size:
            return np.empty((0, self.code_size), np.uint8)
        codes: np.ndarray = faiss.rev_swig_ptr(self._index.invlists.get_codes(at), size * self.code_size)
        return codes.reshape(size, self.code_size)

    def _shift(self, at: int, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        codes = self._codes(at)
        codes[holes] = codes[movers]
        codes[kept:] = 0

    def search(self, probes: np.ndarray, count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Read the nearest lists, of the mask `allowed` only; see `VectorIndex.search`."""
        similarities, rows = self._index.search(probes, count, params=self._nearest(count, allowed))
        return similarities, rows


class ScanLists(Lists):
    """Lists of a 4-bit product quantiser's codes, packed as those of a `Scan`; the best are compared by a `Store`."""

    def __init__(self, dim: int) -> None:
        parts = kinds.subquantisers(dim)
        super().__init__(dim, (parts + 1) // 2, 16 * dim)
        self._parts = parts
        self._packer: Any = None

    def _made(self) -> Any:
        made = faiss.IndexIVFPQFastScan(
            self._quantiser, self.dim, self.count, self._parts, 4, faiss.METRIC_INNER_PRODUCT
        )
        made.by_residual = False  # a face's code does not depend on its list
        self._packer = made.get_CodePacker()
        return made

    def _learned(self) -> Any:
        return self._index.pq.centroids

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes of vectors `(n, dim)`."""
        codes: np.ndarray = self._index.pq.compute_codes(np.ascontiguousarray(vectors, np.float32))
        return codes

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors `(n, dim)` float32."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        first, lists = len(self._places), self._quantiser.search(vectors, 1)[1].ravel()
        places, codes = self._places.append(lists), self.encode(vectors)
        order = np.argsort(lists, kind="stable")
        touched, starts = np.unique(lists[order], return_index=True)
        for at, part in zip(touched.tolist(), np.split(order, starts[1:]), strict=True):
            self._index.invlists.resize(at, int(self.sizes[at]))
            self._rows(at)[places[part]] = first + part
            pack(self._packer, self._codes(at), places[part], codes[part])
        self._index.ntotal = len(self._places)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the given rows, `(n, code_size)` uint8."""
        out = np.empty((len(rows), self.code_size), np.uint8)
        lists, places = self._places.of(rows)
        blocks = {at: self._codes(at) for at in np.unique(lists).tolist()}
        for to, at, place in zip(out, lists.tolist(), places.tolist(), strict=True):
            to[:] = self._packer.unpack_1(blocks[at][place // 32 :][:1], place % 32)
        return out

    def _codes(self, at: int) -> np.ndarray:
        return blocks_at(self._packer, self._index.invlists.get_codes(at), -(-int(self.sizes[at]) // 32))

    def _shift(self, at: int, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        move(self._packer, self._codes(at), holes, movers, kept)

    def refined(
        self, store: Store, probes: np.ndarray, count: int, candidates: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the nearest lists, of the mask `allowed` only; see `Scan.refined`."""
        settings = self._nearest(count, allowed)
        return refined(self._index, store, probes, count, candidates, settings)
