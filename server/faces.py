"""Faces of uploaded photos: decoded in bounds, found and embedded by the same stages as in the pipeline."""

from __future__ import annotations

import os
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from vultus.configs.schema import Config
from vultus.stages import photo
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.weights import Model


class Faces:
    """A few FaceFinders, each for one thread at a time; whoever asks waits for a free one. For any thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        many = min(2, len(os.sched_getaffinity(0)))
        self._all = [FaceFinder(config) for _ in range(many)]
        self._free: SimpleQueue[FaceFinder] = SimpleQueue()

    def open(self) -> None:
        """Load the models. Raises ModelMissing (a FileNotFoundError) with the remedy."""
        for finder in self._all:
            finder.open()
            self._free.put(finder)

    def close(self) -> None:
        """Give the models back."""
        for finder in self._all:
            finder.close()

    @property
    def model(self) -> Model:
        """The embedder."""
        return self._all[0].model

    @property
    def threshold(self) -> float:
        """Cosine at or above which two faces are one person: the configured one, or the model's."""
        return self._all[0].threshold

    def read(self, data: bytes) -> npt.NDArray[np.uint8]:
        """The file of a photo as `(h, w, 3)` uint8 BGR, upright. Raises RefusedInput (a ValueError) in words."""
        return photo.decode(data, self._config.decode)

    def find(self, picture: npt.NDArray[np.uint8]) -> list[FoundFace]:
        """The faces of a photo, surest first."""
        finder = self._free.get()
        try:
            return finder.find(picture)
        finally:
            self._free.put(finder)

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The vectors `(n, dim)` of aligned faces, `(n, 112, 112, 3)` uint8 BGR."""
        finder = self._free.get()
        try:
            return finder.embed(chips)
        finally:
            self._free.put(finder)
