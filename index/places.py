"""Which row is where in lists: the bookkeeping that lets a row be found, moved and taken out without looking for it."""

from __future__ import annotations

import numpy as np


class Places:
    """The list of each row and its place there; rows count from 0 without gaps, and so do the places of a list."""

    def __init__(self, lists: int) -> None:
        self.sizes = np.zeros(lists, np.int64)
        """Rows of each list."""
        self._list = np.empty(0, np.int32)
        self._place = np.empty(0, np.int32)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists of rows, and their places there, `(n,)` int32 each."""
        return self._list[rows], self._place[rows]

    def append(self, lists: np.ndarray) -> np.ndarray:
        """Note that the next rows go to the ends of `lists`, in this order; return their places there."""
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
        return self._place[start:end]

    def fill(self, sizes: np.ndarray, rows: np.ndarray) -> None:
        """Note what is in lists of these sizes, `rows` list by list; nothing was noted before. Raises ValueError."""
        if ((sizes < 0) | (sizes > len(rows))).any() or sizes.sum() != len(rows):
            raise ValueError("its lists have other lengths than its faces fill")
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(rows) and (np.bincount(rows) == 1).all()):
            raise ValueError("its lists do not hold each of its faces once")
        self._list, self._place = (np.empty(len(rows), np.int32) for _ in range(2))
        self._list[rows] = np.repeat(np.arange(len(sizes)), sizes)
        self._place[rows] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self.sizes[:] = sizes
        self._rows = len(rows)

    def gone(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> list[tuple[int, np.ndarray]]:
        """Return the lists that lose rows, and which places of each, where `movers` take the numbers `holes` up to `kept`."""
        going = np.zeros(self._rows, bool)
        going[kept:] = going[holes] = True
        going[movers] = False
        rows = np.flatnonzero(going)
        rows = rows[np.argsort(self._list[rows], kind="stable")]
        lists, first = np.unique(self._list[rows], return_index=True)
        return list(zip(lists.tolist(), np.split(self._place[rows], first[1:]), strict=True))

    def cut(self, at: int, kept: int, rows: np.ndarray, places: np.ndarray) -> None:
        """Note that a list is down to `kept` rows, and that some of them have changed their places."""
        self._place[rows] = places
        self.sizes[at] = kept

    def renumber(self, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
        """Give the rows `movers` the numbers `holes`, and forget all from `kept` on."""
        self._list[holes], self._place[holes] = self.of(movers)
        self._rows = kept


def gaps(size: int, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return which places get a new row when those of `gone` leave a list of so many, which give one, and the rest's number."""
    stays = np.ones(size, bool)
    stays[gone] = False
    kept = size - len(gone)
    return np.flatnonzero(~stays[:kept]), kept + np.flatnonzero(stays[kept:]), kept
