"""What comes into the gallery, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from vultus.index.embedding import normalised
from vultus.index.names import clean_name
from vultus.index.types import FaceRecord, FileFaces


def checked(
    vectors: ArrayLike, faces: Sequence[FaceRecord] | None, dim: int | None, source: str = ""
) -> tuple[np.ndarray, Sequence[FaceRecord]]:
    """Return `(n, dim)` vectors of length 1 and a record for each; those without a source get `source`."""
    rows = normalised(vectors, dim)
    if faces is None:
        return rows, [FaceRecord(source=source)] * len(rows)
    if len(faces) != len(rows):
        raise ValueError(f"{len(faces)} face records were given for {len(rows)} vectors; each needs one")
    if source:
        faces = [face if face.source else msgspec.structs.replace(face, source=source) for face in faces]
    return rows, faces


def checked_file(file: FileFaces, dim: int | None) -> tuple[np.ndarray, Sequence[FaceRecord], list[str | None]]:
    """Return vectors, records and the name of each face of a file."""
    name = None if file.label is None else clean_name(file.label)
    rows, records = checked(file.vectors, file.faces, dim, file.record.source)
    if file.refused is not None and len(rows):
        raise ValueError(f"{file.record.source!r} is refused, but comes with {len(rows)} faces")
    meant = set(range(len(rows)) if file.labelled is None else file.labelled)
    if not meant <= set(range(len(rows))):
        raise ValueError(f"the label is for the faces {sorted(meant)}, but there are only {len(rows)}, from 0")
    return rows, records, [name if position in meant else None for position in range(len(rows))]
