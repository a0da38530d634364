"""The gallery in a folder: SQLite, and an index in the memory of each process; see `vultus.index.contract.Backend`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vultus.index import care, kinds, search, snapshot, verify
from vultus.index.contract import IndexFigures, Look
from vultus.index.errors import GalleryError
from vultus.index.figures import size_of
from vultus.index.filters import admits
from vultus.index.live import LiveIndex
from vultus.index.loading import bound_to
from vultus.index.storage import Connection
from vultus.index.store import Store
from vultus.index.types import Report, Where
from vultus.index.vectors import NOBODY

_log = logging.getLogger("vultus.index")
_CROWD = 0.25
"""From this share of nobody's faces on they are masked out; fewer are passed over, which spares a pass over all."""


class Embedded:
    """An open gallery in a folder."""

    searches_here = True

    def __init__(self, store: Store) -> None:
        self.storage = store
        self.live = LiveIndex(store)

    @contextlib.contextmanager
    def looking(self, connection: Connection, where: Where | None) -> Iterator[Look]:
        """Lend the index in memory, with all that was committed before this call."""
        self.live.catch_up(connection)
        filters = self.live.filters
        resolved = filters.resolve(connection, where)
        admitted = filters.admitted(connection, resolved)
        with self.live.reading() as index:
            yield Look(
                index=index,
                mask=filters.mask(index, self.live.point, resolved, admitted),
                left_out=index.hidden if where is None or where.hidden is False else frozenset(),
                denials=self.live.denials,
                calibration=self.live.calibration,
                admits=partial(admits, admitted),
            )

    def figures(self, connection: Connection) -> IndexFigures:
        """Return kind and size of the index; of one that was not loaded yet, those that it would have."""
        dim = bound_to(connection)[2]
        kind = self.live.kind(connection)
        try:
            written = snapshot.read_header(self.storage.folder / snapshot.NAME).written
        except snapshot.Unusable:
            written = None
        return IndexFigures(
            index=kind,
            recall=self.live.recall(),
            bytes_per_vector=kinds.bytes_per_vector(kind, dim) if dim else 0,
            last_snapshot=written,
            size_bytes=size_of(self.storage.folder),
            encrypted=self.storage.seal is not None,
        )

    def near(
        self, connection: Connection, probes: np.ndarray, k: int, threshold: float
    ) -> list[list[tuple[int, float]]]:
        """Return for each probe the nearest people, unknown ones negated, hidden ones too.

        A face is not near to somebody whom it is denied to be.
        """
        self.live.catch_up(connection)
        with self.live.reading() as index:
            owned = index.people != NOBODY
            mask = owned if np.count_nonzero(owned) < (1 - _CROWD) * len(owned) else None
            wanted = search.Wanted(
                k=k, threshold=threshold, mask=mask, left_out=frozenset({NOBODY}), denials=self.live.denials
            )
            return search.people_near(index, probes, wanted, search.reader(connection))

    def verify(self) -> Report:
        """Check database, index and snapshot."""
        return verify.verify(self.storage, self.live)

    def convert(self, kind: str, memory: int | None, recall: float | None) -> str:
        """Build the index anew, of another kind, and write a snapshot."""
        wanted = kinds.spelled(kind, recall)
        with self.storage.write() as connection:
            connection.execute("UPDATE gallery SET index_kind = ?, memory = ?", (wanted, memory))
        now = self.live.convert()
        self.snapshot()
        return now

    def exchange_vectors(self, connection: Connection) -> None:
        """Put the vectors of the next model in place of those of this one, inside the caller's transaction."""
        for table in ("vectors", "lacking"):
            (made,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (f"next_{table}",)).fetchone()
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE next_{table} RENAME TO {table}")
            connection.execute(made)

    def moved_to(self, model: str) -> None:
        """Expect this model from now on, and write a snapshot of its vectors."""
        self.storage.moved_to(model)
        self.snapshot()

    def set_key(self, key: bytes | None) -> None:
        """Encrypt, decrypt, or give another key, and write a snapshot."""
        care.set_key(self.storage, key)
        self.snapshot()

    def backup(self, target: Path) -> int:
        """Copy the database into a new file."""
        return care.backup(self.storage, target)

    def compact(self) -> int:
        """Write the database anew without free pages, and a snapshot."""
        given_back = care.compact(self.storage)
        self.snapshot()
        return given_back

    def snapshot(self) -> None:
        """Write a snapshot."""
        self.live.write_snapshot(wait=True)

    def close(self, *, snapshot: bool | None) -> None:
        """Write a snapshot if it is wanted or spares the next opening noticeable work, and give everything back."""
        self.live.close()
        try:
            if snapshot or (snapshot is None and self.live.snapshot_due()):
                self.live.write_snapshot(wait=False)
        except GalleryError as error:
            _log.warning("%s", error)
        finally:
            self.storage.close()
