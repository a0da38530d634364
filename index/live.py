"""The index in memory and how it follows the database, whoever writes to that.

All changes, our own included, reach the index through the journal: there is one way in, so every process and every
thread sees the same thing. The first search loads the index; opening a gallery only to list people costs nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np

from vultus.index import denials, journal, snapshot
from vultus.index.calibration import Calibration, kept
from vultus.index.conversion import Conversion
from vultus.index.filters import Filters
from vultus.index.journal import Point
from vultus.index.loading import apply, bound_to, built, kind_for, load, news
from vultus.index.locks import ReadWriteLock
from vultus.index.storage import Connection
from vultus.index.store import Store
from vultus.index.vectors import VectorIndex

_log = logging.getLogger("vultus.index")

_FEW_CHANGES = 1024
"""Replaying so many faces takes milliseconds; fewer do not make `close` write a snapshot."""
_SHARE = 0.1
"""Nor does a smaller share of all faces than this."""


class LiveIndex:
    """The vector index of a gallery, brought up to date on demand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.folder / snapshot.NAME
        self._following = threading.Lock()
        self._lock = ReadWriteLock()
        self._index: VectorIndex | None = None
        self._point = Point(-1, -1)
        self._conversion: Conversion | None = None
        self.filters = Filters()
        self.denials = denials.Denials()
        """The negative examples, like the index as of the last `catch_up`."""
        self.calibration: Calibration | None = None
        """Likewise."""
        self.origin = "not loaded"
        """Where the index came from: "snapshot", "database", or "not loaded"."""

    def catch_up(self, connection: Connection) -> None:
        """Make the index show everything that was committed before this call."""
        if self._index is not None and journal.newest(connection) == self._point and not self._converted:
            return
        with self._following:
            connection.execute("BEGIN")  # one state of the database for journal and vectors
            try:
                self._follow(connection)
            finally:
                connection.execute("ROLLBACK")

    def _follow(self, connection: Connection) -> None:
        newest = journal.newest(connection)
        if self._converted:
            self._take_over(connection)
        if newest == self._point:
            return
        index, changes = self._index, None
        if index is not None and index.dim == bound_to(connection)[2]:
            changes = journal.since(connection, self._point)
            if changes is None:
                _log.warning(
                    "the gallery %s is read anew: it was put back to another state, or its journal was pruned",
                    self._store.folder,
                )
        if index is None or changes is None:
            self._store.handing.wanted = True
            self.filters.forget()
            self._take_in(connection)
            index, self.origin = load(connection, self._store.folder)
            with self._lock.writing():
                self._index, self._point = index, newest
            return
        if any(change.kind not in ("added", "renamed") for change in changes):
            self._take_in(connection)
        try:
            told = news(connection, index.dim, changes, self._store.handing.take)
            with self._lock.writing():
                try:
                    apply(index, told)
                except BaseException:
                    self._index = None  # half applied: nobody is to search in it
                    raise
                self._point = newest
        except MemoryError:
            # Anew it takes less: the old index is given back before, and nothing is moved about.
            _log.warning("no memory to follow the changes of the gallery %s; reloading it", self._store.folder)
            with self._lock.writing():
                self._index = None
            index = told = None
            index, self.origin = load(connection, self._store.folder)
            with self._lock.writing():
                self._index, self._point = index, newest
            return
        if self._conversion is None and (kind := kind_for(connection, index.kind, len(index))) != index.kind:
            self._conversion = Conversion(self._store, kind)
            self._conversion.start()

    def _take_in(self, connection: Connection) -> None:
        """Read what a search needs beside the index."""
        self.denials = denials.load(connection)
        self.calibration = kept(connection)

    @property
    def _converted(self) -> bool:
        """Whether an index of another kind waits to be taken over."""
        return self._conversion is not None and not self._conversion.running and self._conversion.result is not None

    def _take_over(self, connection: Connection) -> None:
        """Go on with the index of the finished conversion, which the caller brings up to date."""
        conversion, self._conversion = self._conversion, None
        if conversion is None or conversion.result is None:
            return
        index, point = conversion.result
        if journal.since(connection, point) is not None:
            with self._lock.writing():
                self._index, self._point = index, point

    @property
    def point(self) -> Point:
        """The state of the gallery that the index shows; it does not change while that is lent."""
        return self._point

    def convert(self) -> str:
        """Build the index anew from the database, of the kind that the gallery wants now; return which that is."""
        with self._following, self._store.read() as connection:
            if self._conversion is not None:
                self._conversion.cancel()
            self._conversion = None
            connection.execute("BEGIN")
            newest, kind = journal.newest(connection), kind_for(connection, None)
            index = built(connection, kind)
            self._take_in(connection)
            with self._lock.writing():
                self._index, self._point, self.origin = index, newest, "database"
        return kind

    def kind(self, connection: Connection) -> str:
        """Return the kind of the index; of one that was not loaded yet, the kind that it would have."""
        if self._index is not None:
            return self._index.kind
        try:
            now = snapshot.read_header(self._path).kind
        except snapshot.Unusable:
            now = None
        return kind_for(connection, now)

    def recall(self) -> float | None:
        """Return how often a search finds the nearest person, measured, if the index is loaded and reads some lists only."""
        recall = None if self._index is None else self._index.recall
        return None if recall is None else recall[1]

    def close(self) -> None:
        """End what runs in the background."""
        if self._conversion is not None:
            self._conversion.cancel()

    @contextlib.contextmanager
    def reading(self) -> Iterator[VectorIndex]:
        """Lend the index for searching; it does not change meanwhile. `catch_up` comes first."""
        with self._lock.reading():
            if self._index is None:
                raise RuntimeError("the index was never caught up with the database")
            yield self._index

    def digest(self) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
        """Return the CRC of what the index holds, and what makes of vectors what it holds of them."""
        with self._following, self.reading() as index:
            return index.digest(), index.encode

    def write_snapshot(self, *, wait: bool) -> bool:
        """Write the current state as a snapshot; false if another process is doing so and `wait` is not set."""
        with snapshot.only_one(self._store.folder, wait=wait) as alone:
            if not alone:
                return False
            with self._store.read() as connection:
                self.catch_up(connection)
                uid, model, dim = bound_to(connection)
                seal = connection.seal
            if dim is None:
                return True
            with contextlib.ExitStack() as held:  # searches that have changes to take in wait for it
                held.enter_context(self._following)
                index = held.enter_context(self.reading())
                snapshot.write(self._path, index, uid, model, self._point, seal, held.close)
            return True

    def snapshot_due(self) -> bool:
        """Whether the snapshot on disk misses so much that closing should write one, or holds faces deleted since."""
        if self._store.read_only:
            return False
        with self._store.read() as connection:
            (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()
            try:
                header = snapshot.read_header(self._path)
            except snapshot.Unusable:
                return bool(faces >= _FEW_CHANGES or self._path.exists())
            if self.origin == "database" or journal.since(connection, header.point) is None:
                return True
            changed, gone = journal.faces_since(connection, header.point.seq)
            return gone > 0 or changed >= max(_FEW_CHANGES, _SHARE * faces)
