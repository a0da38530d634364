"""The vector index: which face and which person a row is, and how the nearest rows are found in each kind of index."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from vultus.index import kinds
from vultus.index.codes import Scan, Store, parameter_counts
from vultus.index.lists import LIST_PARAMETERS, Lists, ScanLists, StoreLists

NOBODY = 0
"""Stands for "no identity" in the array of people; identities count from 1. People without a name are negated."""
_BLOCK = 4096
_FROM_DATABASE = 512
"""Rows that are compared with the database, at least, where there is no store."""
_MORE_CANDIDATES = 8
"""And for each row asked for, this many."""
_FEW_ADMITTED = 0.05
"""Where a mask admits a smaller share of all rows than this, the store is read for them instead of the scan for all."""
_FEW_ROWS = 2048
"""Without a store: so many admitted rows are all candidates, and not found by a scan."""
_LOOKED_AT = 36
"""Of the best rows so many are looked at, when the nearest person is asked for (`vultus.index.search.rank`)."""
_EPSILON = float(np.finfo(np.float32).eps)


class VectorIndex:
    """Unit vectors with their face and person, searched by inner product.

    `kind` is one of `kinds.KINDS`. Not safe against a change during a search; `LiveIndex` sees to that. Searches may
    run side by side.
    """

    def __init__(self, dim: int, kind: str = kinds.FLAT) -> None:
        self.dim = dim
        self.kind = kind
        parts = kinds.KINDS[kind]
        self._scan: Scan | ScanLists | None = None
        if parts.scan != "none":
            self._scan = ScanLists(dim) if parts.lists else Scan(dim, parts.scan)
        self._store: Store | StoreLists | None = None
        if parts.store != "none":
            listed = parts.lists and self._scan is None
            self._store = StoreLists(dim, parts.store) if listed else Store(dim, parts.store)
        self._lists = next((part for part in (self._scan, self._store) if isinstance(part, Lists)), None)
        self._faces = np.empty(0, np.int64)
        self._people = np.empty(0, np.int64)
        self._count = 0
        self.hidden: frozenset[int] = frozenset()
        """The people, as `people` has them, whom a search leaves out unless it asks for them."""

    def __len__(self) -> int:
        return self._count

    @property
    def faces(self) -> np.ndarray:
        """Face of each row, `(n,)` int64; a view that the next change makes stale."""
        return self._faces[: len(self)]

    @property
    def people(self) -> np.ndarray:
        """Person of each row, negated if without a name, or `NOBODY`; `(n,)` int64, stale after the next change."""
        return self._people[: len(self)]

    @property
    def rows(self) -> np.ndarray | None:
        """The vectors, `(n, dim)` float32, if this kind holds them; a view that the next change makes stale."""
        return self._store.codes.view("<f4") if isinstance(self._store, Store) and self.kind == kinds.FLAT else None

    @property
    def exhaustive(self) -> bool:
        """Whether a search compares every row, so that none better than its last lies outside its answer."""
        return kinds.KINDS[self.kind].exhaustive

    @property
    def lists(self) -> int:
        """How many lists the rows are in; 0 for other kinds."""
        return self._lists.count if self._lists is not None else 0

    @property
    def recall(self) -> tuple[float, float] | None:
        """How often a search that reads some lists is to find the nearest person, and how often it did when measured."""
        return (self._lists.wanted, self._lists.measured) if self._lists is not None else None

    @property
    def fewest(self) -> int:
        """How many rows a search should ask for at least: many, where only the database can tell which is best."""
        return _FROM_DATABASE if self._store is None else 1

    @property
    def error(self) -> float:
        """How far, all but never exceeded, a similarity that `search` returns is from that of the vectors."""
        if self._store is not None:
            return self._store.error + self.dim * _EPSILON
        return self._scan.error if self._scan is not None else 0.0

    def train(self, sample: np.ndarray, count: int | None = None) -> None:
        """Learn what the kind needs from vectors `(n, dim)` like the `count` ones to come, before the first `add`."""
        if self._lists is not None:
            self._lists.count = kinds.list_count(len(sample) if count is None else count)
        for part in (self._store, self._scan):
            if part is not None:
                part.train(sample)
        if isinstance(self._store, Store) and count is not None:
            self._store.reserve(count)

    def add(self, faces: np.ndarray, people: np.ndarray, vectors: np.ndarray) -> None:
        """Append rows: int64 faces not yet present, int64 people, `(n, dim)` float32 of length 1."""
        self._append(faces, people)
        for part in (self._store, self._scan):
            if part is not None:
                part.add(vectors)

    def settle(self, recall: float, probes: np.ndarray, own: np.ndarray, nearest: np.ndarray) -> None:
        """Let searches read so many lists that this share of `probes` finds its nearest person.

        `probes` are the vectors `(n, dim)` of the rows `own`, `nearest` the row that is nearest to each besides itself;
        any row of the same person will do, or that one if it is nobody's.
        """
        if self._lists is None:
            return
        order = np.argsort(self.people, kind="stable")
        ordered, wanted = self.people[order], []
        for row, near in zip(own.tolist(), nearest.tolist(), strict=True):
            person = self.people[near]
            rows = order[slice(*np.searchsorted(ordered, [person, person + 1]))]
            wanted.append(np.array([near]) if person == NOBODY else rows[rows != row])
        self._lists.settle(recall, probes, wanted)
        if self._scan is None:
            return
        missed = list(range(len(wanted)))

        def search() -> int:
            rows = self.search(probes[missed], min(len(self), _LOOKED_AT), None)[1]
            missed[:] = [at for at, found in zip(missed, rows, strict=True) if not np.isin(found, wanted[at]).any()]
            return len(missed)

        self._lists.widen(search, len(wanted))

    def _append(self, faces: np.ndarray, people: np.ndarray) -> None:
        start, end = len(self), len(self) + len(faces)
        if end > len(self._faces):
            room = max(end, len(self._faces) * 3 // 2)
            self._faces = np.concatenate((self._faces[:start], np.empty(room - start, np.int64)))
            self._people = np.concatenate((self._people[:start], np.empty(room - start, np.int64)))
        self._faces[start:end] = faces
        self._people[start:end] = people
        self._count = end

    def remove(self, gone: np.ndarray) -> None:
        """Take out the rows that the mask `gone`, `(n,)` bool, marks; the last rows fill the gaps."""
        count = len(self)
        kept = count - int(np.count_nonzero(gone))
        if kept == count:
            return
        holes = np.flatnonzero(gone[:kept])
        movers = kept + np.flatnonzero(~gone[kept:])
        for table in (self._faces, self._people):
            table[holes] = table[movers]
        for part in (self._store, self._scan):
            if part is not None:
                part.move(holes, movers, kept)
        self._count = kept

    def relabel(self, former: np.ndarray, now: np.ndarray) -> None:
        """Give the faces of each person of `former`, ascending, to the person at the same place of `now`."""
        people = self.people
        at = np.minimum(np.searchsorted(former, people), len(former) - 1)
        hit = former[at] == people
        people[hit] = now[at[hit]]

    def reassign(self, faces: np.ndarray, people: np.ndarray) -> None:
        """Give each of `faces`, ascending, to the person at the same place of `people`; others are left as they are."""
        if not len(faces):
            return
        rows = np.flatnonzero((self.faces >= faces[0]) & (self.faces <= faces[-1]))
        at = np.minimum(np.searchsorted(faces, self.faces[rows]), len(faces) - 1)
        hit = faces[at] == self.faces[rows]
        self.people[rows[hit]] = people[at[hit]]

    def search(self, probes: np.ndarray, count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the best `count` rows for each probe, best first, as `(n, count)` float32 similarities and int64 rows.

        `allowed` is a mask over the rows. Where fewer rows were found, the tail has row -1 and similarity -inf.
        Similarities are within `error`. Kinds with a scan may miss a row, ever less likely the higher it stands.
        """
        if self._store is not None and (self._scan is None or _few(allowed)):  # lists choose by `allowed` themselves
            similarities, rows = self._store.search(probes, count, allowed)
            similarities[rows < 0] = -np.inf
            return similarities, rows
        wanted = max(kinds.CANDIDATES, _MORE_CANDIDATES * count)
        if isinstance(self._store, Store) and (allowed is None or isinstance(self._scan, ScanLists)):
            most = min(len(self), wanted)
            if isinstance(self._scan, ScanLists):
                similarities, rows = self._scan.refined(self._store, probes, count, most, allowed)
            elif self._scan is not None:
                similarities, rows = self._scan.refined(self._store, probes, count, most)
            similarities[rows < 0] = -np.inf
            return similarities, rows
        similarities = np.full((len(probes), count), -np.inf, np.float32)
        rows = np.full((len(probes), count), -1, np.int64)
        for at, (found, values) in enumerate(self._candidates(probes, wanted, allowed)):
            best = np.argsort(-values, kind="stable")[:count]
            similarities[at, : len(best)], rows[at, : len(best)] = values[best], found[best]
        return similarities, rows

    def _candidates(
        self, probes: np.ndarray, wanted: int, allowed: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each probe the rows that the scan finds, and their similarities by the store if there is one."""
        scan, store = self._scan, self._store
        if not isinstance(scan, Scan):
            raise RuntimeError(f"an index of kind {self.kind} has no scan of all rows")
        if allowed is not None:
            admitted = np.flatnonzero(allowed)
            if store is None and len(admitted) <= _FEW_ROWS:
                decoded = scan.decode(admitted)
                yield from ((admitted, decoded @ probe) for probe in probes)
                return
            wanted = int(wanted * len(allowed) / len(admitted))
        for probe, rough, found in zip(probes, *scan.search(probes, min(len(self), wanted)), strict=True):
            kept = found >= 0 if allowed is None else (found >= 0) & allowed[found]
            yield found[kept], store.compare(probe, found[kept]) if isinstance(store, Store) else rough[kept]

    def exact(self, probes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the similarity of `probes` `(n, dim)` to `rows` `(n, m)` as `(n, m)` float32; of a flat index only.

        Computed in double precision one pair at a time, so that a pair has one similarity, whatever else was asked in
        the same batch and wherever the row lies.
        """
        table = self.rows
        if table is None:
            raise RuntimeError(f"an index of kind {self.kind} does not hold the vectors")
        out = np.empty(rows.shape, np.float32)
        step = max(1, _BLOCK // len(probes))
        for start in range(0, rows.shape[1], step):
            out[:, start : start + step] = similarities_of(probes, table[rows[:, start : start + step]])
        return out

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return what the index keeps of vectors `(n, dim)`, `(n, bytes)` uint8."""
        parts = [part.encode(vectors) for part in (self._store, self._scan) if part is not None]
        return np.ascontiguousarray(np.concatenate(parts, axis=1))

    def digest(self) -> int:
        """CRC of faces, people and codes in the order of faces: equal for equal contents, however they came here."""
        order = np.argsort(self.faces)
        crc = 0
        for start in range(0, len(order), _BLOCK):
            part = order[start : start + _BLOCK]
            codes = [] if self._store is None else [self._store.take(part)]
            codes += [] if self._scan is None else [self._scan.take(part)]
            crc = digest_block(crc, self.faces[part], self.people[part], np.concatenate(codes, axis=1))
        return crc

    def sections(self) -> list[np.ndarray]:
        """Return the arrays that a snapshot holds, in the order of `section_shapes`; one may come in several pieces."""
        tables, learned = [self.faces, self.people], list[np.ndarray]()
        if isinstance(self._store, Store):
            learned += [self._store.parameters, self._store.codes]
        if isinstance(self._scan, Scan):
            learned += [self._scan.parameters, self._scan.blocks]
        if self._lists is not None:
            order, pieces = self._lists.contents()
            learned += [self._lists.parameters, self._lists.sizes]
            if self._scan is None:  # faces and people are in the order of the lists
                tables = [table[order] for table in tables]
            else:
                filler = sum(_blocks(len(self), self.lists)) - sum(map(len, pieces))
                pieces.append(np.zeros((filler, 32 * self._lists.code_size), np.uint8))
                learned.append(order)
            learned += pieces
        return tables + learned

    def restoring(self, count: int, lists: int = 0) -> Iterator[np.ndarray]:
        """Take over `count` rows of another index of the same kind and dim; this one is empty so far.

        Yields places to be filled, before the next is asked for, with what the other's `sections` hold one after the
        other; most are FAISS's own memory, so that nothing is there twice. Raises ValueError for what no index holds.
        """
        faces, people, *rest = section_shapes(self.kind, self.dim, count, lists)
        tables = _empty(faces), _empty(people)
        yield from tables
        self._append(*tables)
        for part in (self._store, self._scan):
            if isinstance(part, Store | Scan):
                learned = _empty(rest.pop(0))
                yield learned
                part.parameters = learned
                yield from part.room(count)
                rest.pop(0)
        if self._lists is not None:
            learned, sizes = _empty(rest.pop(0)), _empty(rest.pop(0))
            yield learned
            self._lists.parameters = learned
            yield sizes
            order = np.arange(count)
            if self._scan is not None:
                yield order
            yield from self._lists.room(sizes, order)
            if self._scan is not None:
                yield np.empty(
                    (sum(_blocks(count, lists)) - int((-(-sizes // 32)).sum()), 32 * self._lists.code_size), np.uint8
                )


def _empty(section: tuple[str, tuple[int, ...]]) -> np.ndarray:
    dtype, shape = section
    return np.empty(shape, dtype)


def _few(allowed: np.ndarray | None) -> bool:
    return allowed is not None and bool(np.count_nonzero(allowed) < _FEW_ADMITTED * len(allowed))


def similarities_of(probes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the similarity of `probes` `(n, dim)` to `vectors` `(n, m, dim)`, `(n, m)` float32, in double precision."""
    out = np.einsum("nmd,nd->nm", vectors, probes, dtype=np.float64).astype(np.float32)
    return np.asarray(np.clip(out, -1.0, 1.0, out=out))


def section_shapes(kind: str, dim: int, count: int, lists: int = 0) -> list[tuple[str, tuple[int, ...]]]:
    """Return type and shape of each array that the snapshot of `count` faces, in so many lists, holds."""
    shapes: list[tuple[str, tuple[int, ...]]] = [("<i8", (count,)), ("<i8", (count,))]
    parts, (store, scan) = kinds.KINDS[kind], parameter_counts(kind, dim)
    codes, blocks = ("u1", (count, kinds.store_bytes(kind, dim))), 32 * kinds.scan_bytes(kind, dim)
    listed: list[tuple[str, tuple[int, ...]]] = [("<i8", (lists,))]
    if parts.lists and parts.scan == "none":
        return [*shapes, ("<f4", (LIST_PARAMETERS + store - 1 + lists * dim,)), *listed, codes]
    if parts.store != "none":
        shapes += [("<f4", (store,)), codes]
    if parts.lists:
        shapes += [("<f4", (LIST_PARAMETERS + scan - 1 + lists * dim,)), *listed, ("<i8", (count,))]
        shapes += [("u1", (sum(_blocks(count, lists)), blocks))]
    elif parts.scan != "none":
        shapes += [("<f4", (scan,)), ("u1", (-(-count // 32), blocks))]
    return shapes


def _blocks(count: int, lists: int) -> tuple[int, int]:
    """How many blocks of 32 so many rows fill at least, and how many more if the last one of each list is hardly filled."""
    return -(-count // 32), lists


def digest_block(crc: int, faces: np.ndarray, people: np.ndarray, codes: np.ndarray) -> int:
    """Extend a `VectorIndex.digest` by up to 4096 rows; only the last block of a digest may be shorter."""
    for table in (faces, people, codes):
        crc = zlib.crc32(np.ascontiguousarray(table).data, crc)
    return crc


DIGEST_BLOCK = _BLOCK
