"""Vectors on their way from a commit to the index of the same process, which would read them from the database otherwise.

They are known by the mark of the journal's row that says they were added: it is random, so that of one that was rolled back,
or belongs to a history that was put back, nobody asks. What is not here any more is in the database.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

_MOST = 16 << 20
"""Bytes: eight commits of a thousand faces of 512 numbers. A process that searches takes each before the next one is there."""


class Handing:
    """May be used from several threads."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether there is an index that will ask."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._size = 0

    def put(self, added: Mapping[int, np.ndarray]) -> None:
        """Keep what is being committed, vectors `(n, dim)` by mark, if somebody wants it; the oldest makes way."""
        if not self.wanted:
            return
        with self._lock:
            for mark, vectors in added.items():
                self._kept[mark] = vectors
                self._size += vectors.nbytes
            while self._size > _MOST:
                self._size -= self._kept.popitem(last=False)[1].nbytes

    def take(self, mark: int) -> np.ndarray | None:
        """Return, and forget, the vectors of a mark, in the order of their faces; none if they are not here."""
        with self._lock:
            vectors = self._kept.pop(mark, None)
            self._size -= 0 if vectors is None else vectors.nbytes
        return vectors
