"""New vectors for a gallery that moves to another embedding model, from the pictures that it kept of its faces."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.configs.schema import Decode
from vultus.index import Gallery, PendingFace
from vultus.pipeline.errors import RefusedInput
from vultus.stages import photo
from vultus.stages.align import crop
from vultus.stages.chip import chip_pixels
from vultus.weights import Embedder

_BATCH = 256
"""Faces embedded, and committed, at a time: what a kill may cost."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a migration finds, before it begins."""

    faces: int
    pictures: int
    """Faces whose picture is kept."""

    @property
    def without(self) -> int:
        """Faces whose photograph has to be read again, if it is still there."""
        return self.faces - self.pictures


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of it."""

    done: int
    lacking: int
    """Faces that have no vector of the new model: they keep everything else, and are not found."""


def plan(gallery: Gallery) -> Plan:
    """Count what there is to be done."""
    faces, pictures = gallery.migration.pictures()
    return Plan(faces=faces, pictures=pictures)


def reembed(
    gallery: Gallery, embedder: Embedder, fingerprint: str, limits: Decode, progress: Callable[[int, int], None]
) -> Outcome:
    """Move the gallery to the model with this fingerprint, from where an earlier attempt was stopped.

    The gallery answers with its old vectors until all new ones are there. `progress` is called with the number of faces
    that are done and of all. Raises ModelMismatch if the gallery has that model or is on its way to another.
    """
    migration = gallery.migration
    migration.start(fingerprint, embedder.dim)
    while True:
        state = migration.state
        if state is None:
            raise RuntimeError("the migration was abandoned by another process")
        settled, after = state.done + state.lacking, 0
        progress(settled, state.faces)
        while faces := migration.pending(after, _BATCH):
            _embed(gallery, embedder, faces, limits)
            after = faces[-1].id
            settled += len(faces)
            progress(settled, max(settled, state.faces))
        state, calibrated = migration.state, gallery.calibration.current()
        if migration.finish() and state is not None:
            if calibrated is not None:
                gallery.calibration.keep(gallery.calibration.measure(calibrated.policy))
            return Outcome(done=state.done, lacking=state.lacking)


def _embed(gallery: Gallery, embedder: Embedder, faces: Sequence[PendingFace], limits: Decode) -> None:
    found: dict[int, npt.NDArray[np.uint8]] = {}
    reasons: dict[int, str] = {}
    seen = _Photo(limits)
    for face in faces:
        try:
            found[face.id] = chip_pixels(face.chip) if face.chip is not None else seen.chip(face)
        except ValueError as error:
            reasons[face.id] = str(error)
    if found:
        vectors = embedder.embed_chips(np.stack(list(found.values())))
        finite: list[bool] = np.isfinite(vectors.sum(axis=1)).tolist()
        whole = dict(zip(found, finite, strict=True))
        reasons |= {face: "the model made no vector of its picture" for face, good in whole.items() if not good}
        gallery.migration.put([face for face, good in whole.items() if good], vectors[list(whole.values())])
    if reasons:
        gallery.migration.lack(reasons)


class _Photo:
    """The photograph that was read last: faces of one follow each other."""

    def __init__(self, limits: Decode) -> None:
        self._limits = limits
        self._source: str | None = None
        self._pixels: npt.NDArray[np.uint8] | None = None
        self._trouble = ""

    def chip(self, face: PendingFace) -> npt.NDArray[np.uint8]:
        """The face cut out of its photograph again. ValueError in words if that cannot be."""
        if face.landmarks is None or face.position is not None or not os.path.isabs(face.source):
            raise ValueError("no picture was kept, and it does not come from a photograph")
        if face.source != self._source:
            self._source, self._pixels, self._trouble = face.source, None, ""
            try:
                file = photo.read(face.source, self._limits)
                if face.size is not None and (len(file.data), file.mtime_ns) != (face.size, face.mtime_ns):
                    raise RefusedInput("it has changed since")
                self._pixels = photo.decode(file.data, self._limits)
            except RefusedInput as error:
                self._trouble = str(error)
        if self._pixels is None:
            raise ValueError(f"no picture was kept; its photograph: {self._trouble}")
        return crop(self._pixels, face.landmarks)
