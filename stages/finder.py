"""Faces of a picture in one process: for scripts, `vultus query` and enrolment. The same stages as in the pipeline."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.configs.loader import data_folder
from vultus.configs.schema import Config
from vultus.pipeline.chain import Chain
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Box, Chips, Embedded, Face, Frame, ItemEnd, Landmarks, Origin, TrackedFace
from vultus.stages import photo
from vultus.stages.align import Align
from vultus.stages.detect import Detect
from vultus.stages.embed import Embed
from vultus.stages.gallery import threshold
from vultus.stages.landmarks import landmark_models
from vultus.stages.track import Track
from vultus.weights import Model, Registry

_UNTIL_EMBED = 3
"""Stages before the last."""


class FoundFace(Struct, frozen=True, kw_only=True, eq=False):
    """A face of a picture, with its embedding. Box and landmarks are in pixels of the upright picture."""

    box: Box
    landmarks: Landmarks
    """By which it was aligned."""
    found: Landmarks
    """The detector's, by which its quality was judged; often the same."""
    score: float
    """Detector confidence, 0..1."""
    quality: float
    """0..1, from the embedding's length if the model says it so, else as `stages/quality.py` has it."""
    magnitude: float | None = None
    """That length, of a MagFace model."""
    chip: npt.NDArray[np.uint8]
    """`(112, 112, 3)` uint8 BGR."""
    vector: npt.NDArray[np.float32]
    """`(dim,)` float32 of length 1."""


class FaceFinder:
    """Finds and embeds faces; a context manager, or `open` and `close`. For one thread at a time."""

    def __init__(self, config: Config | None = None, data: Path | None = None) -> None:
        """`config` none: the defaults; `data` none: the user's data folder, where the models are."""
        self._config = config or Config()
        self._data = data or data_folder()
        self._chain: Chain | None = None
        self._model: Model | None = None
        self._pictures = 0

    def open(self) -> None:
        """Load the models. Raises ModelMissing (a FileNotFoundError) with the remedy if they were never fetched."""
        registry, models = Registry(self._data), self._config.models
        registry.need(models.detector, models.embedder, *landmark_models(self._config))
        self._model = registry.resolve(models.embedder, "embedder")
        config, data = self._config, self._data
        chain = Chain([Detect(config, data), Track(config), Align(config, data), Embed(config, data)])
        self._chain = chain.__enter__()

    def close(self) -> None:
        """Give the models back."""
        if self._chain is not None:
            self._chain.close()
            self._chain = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def model(self) -> Model:
        """The embedder; its `fingerprint` is what a gallery is opened with."""
        if self._model is None:
            raise RuntimeError("open the FaceFinder first, for instance with `with`")
        return self._model

    @property
    def threshold(self) -> float:
        """Cosine at or above which two faces are one person: the configured one, or the model's."""
        return threshold(self._config, self.model)

    def read(self, path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
        """A photo as `(h, w, 3)` uint8 BGR, upright. Raises RefusedInput (a ValueError) in words."""
        limits = self._config.decode
        return photo.decode(photo.read(os.fspath(path), limits).data, limits)

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The vectors `(n, dim)`, of length 1, of faces that were cut out before, `(n, 112, 112, 3)` uint8 BGR."""
        nowhere: Landmarks = ((0.0, 0.0),) * 5
        face = TrackedFace(face=Face(box=(0.0, 0.0, 0.0, 0.0), landmarks=nowhere, score=1.0), track=0, quality=1.0)
        cut = Chips(origin=self._origin(), faces=(face,) * len(chips), chips=chips)
        (embedded,) = self._opened.process([cut], first=_UNTIL_EMBED)
        assert isinstance(embedded, Embedded)
        return embedded.vectors

    def find(self, image: npt.NDArray[np.uint8] | str | os.PathLike[str]) -> list[FoundFace]:
        """The faces of a photo, given as path or as `(h, w, 3)` uint8 BGR, surest first; empty if there are none.

        Raises RefusedInput (a ValueError) for a file that is no picture, and ValueError for another kind of array.
        """
        chain = self._opened
        pixels = image if isinstance(image, np.ndarray) else self.read(image)
        origin = self._origin()
        found: list[FoundFace] = []
        frame, end = Frame(origin=origin, image=Image(pixels)), ItemEnd(origin=origin)
        for message in chain.process([frame, end]):
            if isinstance(message, Embedded):
                rows = zip(message.faces, message.chips, message.vectors, strict=True)
                found.extend(
                    FoundFace(
                        box=tracked.face.box,
                        landmarks=tracked.face.landmarks,
                        found=tracked.found or tracked.face.landmarks,
                        score=tracked.face.score,
                        quality=tracked.quality,
                        magnitude=tracked.magnitude,
                        chip=chip,
                        vector=vector,
                    )
                    for tracked, chip, vector in rows
                )
        return found

    @property
    def _opened(self) -> Chain:
        if self._chain is None:
            raise RuntimeError("open the FaceFinder first, for instance with `with`")
        return self._chain

    def _origin(self) -> Origin:
        self._pictures += 1
        return Origin(item=self._pictures, attempt=0, source="picture", seq=0, live=False, time=time.time(), still=True)
