"""How many people and faces a gallery holds, and how much space they take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vultus.index.contract import Backend
from vultus.index.loading import bound_to
from vultus.index.types import Stats


def stats(backend: Backend) -> Stats:
    """Return the figures of one moment."""
    with backend.storage.read() as connection:
        connection.steady()
        _, model, dim = bound_to(connection)
        named, labelled, unknown, faces, files, sightings = connection.execute(
            "SELECT (SELECT count(*) FROM identities WHERE name IS NOT NULL), "
            "(SELECT coalesce(CAST(sum(faces) AS BIGINT), 0) FROM identities WHERE name IS NOT NULL), "
            "(SELECT count(*) FROM identities WHERE name IS NULL AND faces > 0), "
            "(SELECT count(*) FROM faces), "
            "(SELECT count(*) FROM files), (SELECT count(*) FROM sightings)"
        ).fetchone()
        of_index = backend.figures(connection)
    return Stats(
        identities=named,
        unknown=unknown,
        faces=faces,
        unlabelled=faces - labelled,
        files=files,
        sightings=sightings,
        bytes_per_vector=of_index.bytes_per_vector,
        index=of_index.index,
        recall=of_index.recall,
        model=model,
        dim=dim,
        last_snapshot=of_index.last_snapshot,
        size_bytes=of_index.size_bytes,
        encrypted=of_index.encrypted,
    )


def size_of(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    total = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # a log or a temporary file that another process just removed
            total += entry.stat().st_size
    return total
