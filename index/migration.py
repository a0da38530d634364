"""From one embedding model to another: new vectors beside the old ones, face by face, then all at once in their place.

Whoever has an embedder takes the faces that are still to be done (`pending`), makes vectors of their kept pictures, and
puts them in (`put`), or says why there can be none (`lack`). Each is a commit, so a kill costs one batch. Searches go on
in the old vectors, faces that come meanwhile are pending too, faces that are deleted go from both. `finish` exchanges the
vectors in one transaction: people, names, numbers, faces and everything else stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from vultus.index import journal
from vultus.index.binding import check_model
from vultus.index.contract import Backend
from vultus.index.embedding import normalised
from vultus.index.errors import ModelMismatch
from vultus.index.people import to_landmarks
from vultus.index.seal import VECTOR, closed, opened_chip
from vultus.index.storage import Connection
from vultus.index.types import Landmarks

_TODO = (
    "NOT EXISTS (SELECT 1 FROM next_vectors n WHERE n.face = f.id) "
    "AND NOT EXISTS (SELECT 1 FROM next_lacking n WHERE n.face = f.id)"
)


class MigrationState(Struct, frozen=True, kw_only=True):
    """How far a migration is."""

    model: str
    """Fingerprint of the model that the gallery is on its way to."""
    dim: int
    started: float
    faces: int
    done: int
    lacking: int
    """Faces that the new model can have no vector of."""

    @property
    def pending(self) -> int:
        """Faces still to be done."""
        return self.faces - self.done - self.lacking


class PendingFace(Struct, frozen=True, kw_only=True):
    """A face that the new model has not seen, with what a picture of it can be made from."""

    id: int
    chip: bytes | None
    """The kept picture, JPEG, 112 x 112."""
    source: str
    position: float | None
    landmarks: Landmarks | None
    size: int | None
    mtime_ns: int | None
    """Of the archive file that it came from, when it was read; none if it came another way."""


class Migration:
    """The way of an open gallery to another model; `Gallery.migration`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._storage = backend.storage

    @property
    def state(self) -> MigrationState | None:
        """How far it is; none if there is none under way."""
        with self._storage.read() as connection:
            connection.steady()
            row = connection.execute("SELECT model, dim, started FROM migration").fetchone()
            if row is None:
                return None
            faces, done, lacking = connection.execute(
                "SELECT (SELECT count(*) FROM faces), (SELECT count(*) FROM next_vectors), "
                "(SELECT count(*) FROM next_lacking)"
            ).fetchone()
        return MigrationState(model=row[0], dim=row[1], started=row[2], faces=faces, done=done, lacking=lacking)

    def pictures(self) -> tuple[int, int]:
        """Return how many faces there are, and of how many a picture is kept."""
        with self._storage.read() as connection:
            row: tuple[int, int] = connection.execute(
                "SELECT (SELECT count(*) FROM faces), (SELECT count(*) FROM chips)"
            ).fetchone()
        return row

    def start(self, model: str, dim: int) -> None:
        """Begin, or go on with, the way to the model with this fingerprint and so many numbers in a vector.

        Raises ModelMismatch if the gallery has that model, or is on its way to another one.
        """
        check_model(model)
        if not 1 <= dim <= 8192:
            raise ValueError(f"a vector has 1 to 8192 numbers, not {dim}")
        with self._storage.write() as connection:
            (bound,) = connection.execute("SELECT model FROM gallery").fetchone()
            if bound == model:
                raise ModelMismatch(f"the gallery {self._storage.place} holds vectors of the model {model} already")
            row = connection.execute("SELECT model, dim FROM migration").fetchone()
            if row is None:
                connection.execute("INSERT INTO migration VALUES (1, ?, ?, ?)", (model, dim, time.time()))
            elif row != (model, dim):
                raise ModelMismatch(
                    f"the gallery {self._storage.place} is on its way to the model {row[0]}; finish that, or abandon it"
                )

    def pending(self, after: int, limit: int) -> list[PendingFace]:
        """Return up to `limit` faces with numbers above `after` that are still to be done, in ascending order."""
        with self._storage.read() as connection:
            query = (
                "SELECT f.id, c.jpeg, f.source, f.position, f.landmarks, a.size, a.mtime_ns FROM faces f "  # noqa: S608 - constants
                "LEFT JOIN chips c ON c.face = f.id LEFT JOIN files a ON a.id = f.file WHERE f.id > ? "
                f"AND {_TODO} ORDER BY f.id LIMIT ?"
            )
            rows = connection.execute(query, (after, limit)).fetchall()
            return [
                PendingFace(
                    id=number,
                    chip=opened_chip(connection.seal, number, jpeg),
                    source=source,
                    position=position,
                    landmarks=to_landmarks(landmarks),
                    size=size,
                    mtime_ns=mtime_ns,
                )
                for number, jpeg, source, position, landmarks, size, mtime_ns in rows
            ]

    def put(self, faces: Sequence[int], vectors: ArrayLike) -> None:
        """Keep the new vectors `(n, dim)` of faces; of one that was deleted meanwhile nothing is kept."""
        with self._storage.write() as connection:
            rows = normalised(vectors, self._dim(connection))
            if len(rows) != len(faces):
                raise ValueError(f"{len(rows)} vectors were given for {len(faces)} faces; each needs one")
            packed = (row.tobytes() for row in np.ascontiguousarray(rows, "<f4"))
            connection.executemany(
                "INSERT INTO next_vectors SELECT f.id, ? FROM faces f WHERE f.id = ? ON CONFLICT DO NOTHING",
                zip(closed(connection.seal, VECTOR, faces, packed), faces, strict=True),
            )

    def lack(self, reasons: dict[int, str]) -> None:
        """Say of faces why the new model can have no vector of them: they keep everything else, and are not found."""
        with self._storage.write() as connection:
            self._dim(connection)
            connection.executemany(
                "INSERT INTO next_lacking SELECT f.id, ? FROM faces f WHERE f.id = ? ON CONFLICT DO NOTHING",
                [(reason, face) for face, reason in reasons.items()],
            )

    def finish(self) -> bool:
        """Put the new vectors in place of the old ones; false if faces have come that are still pending.

        Every process that has the gallery open with the old model is told so by ModelMismatch at its next call.
        """
        with self._storage.write(scrub=True) as connection:
            dim = self._dim(connection)
            if connection.execute(f"SELECT 1 FROM faces f WHERE {_TODO} LIMIT 1").fetchone() is not None:  # noqa: S608
                return False
            (model,) = connection.execute("SELECT model FROM migration").fetchone()
            self._backend.exchange_vectors(connection)
            connection.execute("UPDATE gallery SET model = ?, dim = ?", (model, dim))
            connection.execute("DELETE FROM migration")
            connection.execute("DELETE FROM calibration")  # the scores of the other model
            (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()
            journal.append(connection, self._storage.writer, "migrated", 0, 0, faces)
        self._backend.moved_to(model)
        return True

    def reasons(self) -> dict[str, int]:
        """Return why faces have no vector since the last migration, and how many each time, the most frequent first."""
        with self._storage.read() as connection:
            return dict(
                connection.execute(
                    "SELECT reason, count(*) FROM lacking GROUP BY reason ORDER BY count(*) DESC, reason"
                ).fetchall()
            )

    def abandon(self) -> None:
        """Forget the new vectors; the old ones go on."""
        with self._storage.write(scrub=True) as connection:
            for table in ("next_vectors", "next_lacking", "migration"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant

    def _dim(self, connection: Connection) -> int:
        row = connection.execute("SELECT dim FROM migration").fetchone()
        if row is None:
            raise ValueError(f"the gallery {self._storage.place} is on its way to no other model; `start` comes first")
        dim: int = row[0]
        return dim
