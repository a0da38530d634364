"""A change to another kind of index, beside the searches that go on in the old one."""

from __future__ import annotations

import logging
import threading
import time

from vultus.index import journal
from vultus.index.errors import GalleryClosed, GalleryError
from vultus.index.journal import Point
from vultus.index.loading import apply, bound_to, built, news
from vultus.index.store import Store
from vultus.index.vectors import VectorIndex

_log = logging.getLogger("vultus.index")

_FEW = 4096
"""Faces that may have changed since the last look for the rest to be left to the search that takes the index over."""


class Conversion:
    """Builds an index of another kind from the database in a thread of its own.

    If it fails, that is logged, and the old index goes on serving.
    """

    def __init__(self, store: Store, kind: str) -> None:
        self.kind = kind
        self.result: tuple[VectorIndex, Point] | None = None
        """The index and the state of the database that it shows; none before the end, or if there was no success."""
        self._store = store
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vultus-index-conversion", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """End it soon, and wait for that."""
        self._cancelled.set()
        self._thread.join()

    def _run(self) -> None:
        begun = time.perf_counter()
        try:
            result = self._build()
        except GalleryClosed:
            return
        except (GalleryError, MemoryError) as error:
            _log.warning("the index was not changed to the kind %s: %s", self.kind, error or "out of memory")
            return
        if result is not None and not self._cancelled.is_set():
            self.result = result
            taken = time.perf_counter() - begun
            _log.info("%d faces are in an index of kind %s after %.1f s", len(result[0]), self.kind, taken)

    def _build(self) -> tuple[VectorIndex, Point] | None:
        with self._store.read() as connection:
            connection.execute("BEGIN")
            point = journal.newest(connection)
            index = built(connection, self.kind, lambda: not self._cancelled.is_set())
            connection.execute("ROLLBACK")
            behind = _FEW
            while behind >= _FEW and not self._cancelled.is_set():
                connection.execute("BEGIN")
                changes = journal.since(connection, point)
                if changes is None or bound_to(connection)[2] != index.dim:
                    return None  # put back to another state: the index is loaded anew, and considered again
                behind, _ = journal.faces_since(connection, point.seq)
                point = journal.newest(connection)
                apply(index, news(connection, index.dim, changes))
                connection.execute("ROLLBACK")
        return index, point
