"""Faces of uploaded photos: decoded in bounds, found and embedded by the same stages as in the pipeline."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from vultus.configs.schema import Config
from vultus.stages import photo
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.weights import Model


class Faces:
    """A few FaceFinders, each for one thread at a time; whoever asks waits for a free one. For any thread.

    There is one to begin with; another one, with its copy of the models, is opened when all are busy for the first time.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._most = min(2, len(os.sched_getaffinity(0)))
        self._all = [FaceFinder(config)]
        self._free: SimpleQueue[FaceFinder] = SimpleQueue()
        self._growing = threading.Lock()

    def open(self) -> None:
        """Load the models. Raises ModelMissing (a FileNotFoundError) with the remedy."""
        self._all[0].open()
        self._free.put(self._all[0])

    def close(self) -> None:
        """Give the models back."""
        for finder in self._all:
            finder.close()

    @property
    def model(self) -> Model:
        """The embedder."""
        return self._all[0].model

    def read(self, data: bytes) -> npt.NDArray[np.uint8]:
        """The file of a photo as `(h, w, 3)` uint8 BGR, upright. Raises RefusedInput (a ValueError) in words."""
        return photo.decode(data, self._config.decode)

    def find(self, picture: npt.NDArray[np.uint8]) -> list[FoundFace]:
        """The faces of a photo, surest first."""
        with self._lent() as finder:
            return finder.find(picture)

    def embed(self, chips: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The vectors `(n, dim)` of aligned faces, `(n, 112, 112, 3)` uint8 BGR."""
        with self._lent() as finder:
            return finder.embed(chips)

    @contextmanager
    def _lent(self) -> Iterator[FaceFinder]:
        try:
            finder = self._free.get_nowait()
        except Empty:
            finder = self._another() or self._free.get()
        try:
            yield finder
        finally:
            self._free.put(finder)

    def _another(self) -> FaceFinder | None:
        """One more, unless there are enough or somebody opens one just now."""
        if len(self._all) == self._most or not self._growing.acquire(blocking=False):
            return None
        try:
            if len(self._all) == self._most:
                return None
            finder = FaceFinder(self._config)
            finder.open()
            self._all.append(finder)
            return finder
        finally:
            self._growing.release()
