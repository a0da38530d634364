"""The exact vector index; the only file that knows FAISS.

Rows of the FAISS index are numbered without gaps; two arrays beside it say which face and which person a row is.
FAISS's own id map would do for removal by face number, but it rebuilds a hash table of all ids and moves every row
behind the gap each time; here the last rows fill the gaps, so removing costs little more than what is removed.
"""

from __future__ import annotations

import zlib

import faiss
import numpy as np

NOBODY = 0
"""Stands for "no identity" in the array of people; identities count from 1."""
_BLOCK = 4096


class VectorIndex:
    """Unit vectors with their face and person, searched exhaustively by inner product.

    Not safe against a change during a search; `LiveIndex` sees to that. Searches may run side by side.
    """

    kind = "Flat"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._flat = faiss.IndexFlatIP(dim)
        self._faces = np.empty(0, np.int64)
        self._people = np.empty(0, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def faces(self) -> np.ndarray:
        """Face of each row, `(n,)` int64; a view that the next change makes stale."""
        return self._faces[: len(self)]

    @property
    def people(self) -> np.ndarray:
        """Person of each row or `NOBODY`, `(n,)` int64; a view that the next change makes stale."""
        return self._people[: len(self)]

    @property
    def rows(self) -> np.ndarray:
        """The vectors, `(n, dim)` float32; a view that the next change makes stale."""
        count = len(self)
        if not count:
            return np.empty((0, self.dim), np.float32)
        memory: np.ndarray = faiss.rev_swig_ptr(self._flat.get_xb(), count * self.dim)
        return memory.reshape(count, self.dim)

    @property
    def bytes_per_vector(self) -> int:
        """Memory for one face: vector, face number, person number."""
        return 4 * self.dim + 16

    def add(self, faces: np.ndarray, people: np.ndarray, vectors: np.ndarray) -> None:
        """Append rows: int64 faces not yet present, int64 people, `(n, dim)` float32 of length 1."""
        start, end = len(self), len(self) + len(faces)
        if end > len(self._faces):
            room = max(end, len(self._faces) * 3 // 2)
            self._faces = np.concatenate((self._faces[:start], np.empty(room - start, np.int64)))
            self._people = np.concatenate((self._people[:start], np.empty(room - start, np.int64)))
        self._faces[start:end] = faces
        self._people[start:end] = people
        self._flat.add(vectors)
        self._count = end

    def remove(self, gone: np.ndarray) -> None:
        """Take out the rows that the mask `gone`, `(n,)` bool, marks."""
        count = len(self)
        kept = count - int(np.count_nonzero(gone))
        if kept == count:
            return
        holes = np.flatnonzero(gone[:kept])
        movers = kept + np.flatnonzero(~gone[kept:])
        for table in (self._faces, self._people, self.rows):
            table[holes] = table[movers]
        self._flat.remove_ids(faiss.IDSelectorRange(kept, count))
        self._count = kept

    def relabel(self, former: np.ndarray, now: np.ndarray) -> None:
        """Give the faces of each person of `former`, ascending, to the person at the same place of `now`."""
        people = self.people
        at = np.minimum(np.searchsorted(former, people), len(former) - 1)
        hit = former[at] == people
        people[hit] = now[at[hit]]

    def search(self, probes: np.ndarray, count: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the best `count` rows for each probe, best first, as `(n, count)` float32 similarities and int64 rows.

        `allowed` is a mask over the rows. Where there are fewer rows, the tail has row -1. Similarities carry FAISS's
        rounding, at most `dim` times the float32 epsilon; `exact` has none.
        """
        if allowed is None:
            similarities, rows = self._flat.search(probes, count)
        else:
            bits = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParameters()
            parameters.sel = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            similarities, rows = self._flat.search(probes, count, params=parameters)
        return similarities, rows

    def exact(self, probes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the similarity of `probes` `(n, dim)` to `rows` `(n, m)` as `(n, m)` float32.

        Computed in double precision one pair at a time, so that a pair has one similarity, whatever else was asked in
        the same batch and wherever the row lies.
        """
        table, out = self.rows, np.empty(rows.shape, np.float32)
        step = max(1, _BLOCK // len(probes))
        for start in range(0, rows.shape[1], step):
            part = table[rows[:, start : start + step]]
            out[:, start : start + step] = np.einsum("nmd,nd->nm", part, probes, dtype=np.float64)
        return np.minimum(np.maximum(out, -1.0, out=out), 1.0, out=out)

    def digest(self) -> int:
        """CRC of faces, people and vectors in the order of faces: equal for equal contents, however they came here."""
        order = np.argsort(self.faces)
        crc = 0
        for start in range(0, len(order), _BLOCK):
            part = order[start : start + _BLOCK]
            crc = digest_block(crc, self.faces[part], self.people[part], self.rows[part])
        return crc


def digest_block(crc: int, faces: np.ndarray, people: np.ndarray, vectors: np.ndarray) -> int:
    """Extend a `VectorIndex.digest` by up to 4096 rows; only the last block of a digest may be shorter."""
    for table in (faces, people, vectors):
        crc = zlib.crc32(np.ascontiguousarray(table).data, crc)
    return crc


DIGEST_BLOCK = _BLOCK
