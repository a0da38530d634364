"""The clearest pictures of somebody who is before a camera."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus.index import Shot
from vultus.pipeline.messages import Origin
from vultus.stages.chip import chip_jpeg


class Shots:
    """At most `most` of them, as JPEGs."""

    __slots__ = ("_best", "_most", "fresh")

    def __init__(self, most: int) -> None:
        self._best: list[Shot] = []
        self._most = most
        self.fresh = False
        """Whether there is one that the gallery does not have; set back by whoever stores them."""

    def add(self, origin: Origin, quality: float, chip: npt.NDArray[np.uint8]) -> None:
        """One more look: its quality, 0..1, and its chip, `(112, 112, 3)` uint8 BGR, which is kept if it is among the best."""
        if len(self._best) < self._most or (self._best and quality > (self._best[-1].quality or 0.0)):
            self._keep([Shot(jpeg=chip_jpeg(chip), time=origin.time, position=origin.position, quality=quality)])

    def join(self, other: Shots) -> None:
        """Add those of another track of the same person."""
        self._keep(other.best)

    def _keep(self, shots: list[Shot]) -> None:
        self._best = sorted(self._best + shots, key=lambda shot: shot.quality or 0.0, reverse=True)[: self._most]
        self.fresh = True

    @property
    def best(self) -> list[Shot]:
        """The best first."""
        return self._best
