"""How many people and faces a gallery holds, and how much space they take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vultus.index import kinds, snapshot
from vultus.index.live import LiveIndex
from vultus.index.loading import bound_to
from vultus.index.store import Store
from vultus.index.types import Stats


def stats(store: Store, live: LiveIndex) -> Stats:
    """Return the figures of one moment."""
    with store.read() as connection:
        connection.steady()
        _, model, dim = bound_to(connection)
        named, unknown, faces, unlabelled, files, sightings = connection.execute(
            "SELECT (SELECT count(*) FROM identities WHERE name IS NOT NULL), "
            "(SELECT count(*) FROM identities i WHERE i.name IS NULL "
            "AND (EXISTS (SELECT 1 FROM faces f WHERE f.identity = i.id) "
            "OR EXISTS (SELECT 1 FROM sightings s WHERE s.identity = i.id))), "
            "(SELECT count(*) FROM faces), "
            "(SELECT count(*) FROM faces WHERE identity IS NULL) + "
            "(SELECT count(*) FROM identities i JOIN faces f ON f.identity = i.id WHERE i.name IS NULL), "
            "(SELECT count(*) FROM files), (SELECT count(*) FROM sightings)"
        ).fetchone()
        kind = live.kind(connection)
    try:
        last_snapshot = snapshot.read_header(store.folder / snapshot.NAME).written
    except snapshot.Unusable:
        last_snapshot = None
    return Stats(
        identities=named,
        unknown=unknown,
        faces=faces,
        unlabelled=unlabelled,
        files=files,
        sightings=sightings,
        bytes_per_vector=kinds.bytes_per_vector(kind, dim) if dim else 0,
        index=kind,
        model=model,
        dim=dim,
        last_snapshot=last_snapshot,
        size_bytes=_size(store.folder),
    )


def _size(folder: Path) -> int:
    total = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # a log or a temporary file that another process just removed
            total += entry.stat().st_size
    return total
