"""One vector for a track: what its best looks have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MOST = 4
"""Looks that make a template; the others were worse."""


class Template:
    """The mean of a track's looks of the best quality, each weighted by its quality's square.

    A face that is blurred, small or turned points anywhere; three good looks agree about the person and cancel what is
    particular to each picture. So the template is nearer to other pictures of the person than a single look, and one bad
    look moves it little.
    """

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks: list[tuple[float, npt.NDArray[np.float32]]] = []

    def add(self, quality: float, vector: npt.NDArray[np.float32]) -> None:
        """One more look: its quality, 0..1, and its embedding, `(dim,)` of length 1, which is copied."""
        self._looks.append((max(quality, 1e-3), np.array(vector, np.float32)))
        self._looks.sort(key=lambda look: look[0], reverse=True)
        del self._looks[_MOST:]

    def join(self, other: Template) -> None:
        """Add the looks of another track of the same person."""
        for quality, vector in other._looks:
            self.add(quality, vector)

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        """`(dim,)` float32 of length 1. RuntimeError without a look."""
        if not self._looks:
            raise RuntimeError("a template needs a look")
        best = self._looks[0][1]
        mean = np.sum([quality**2 * vector for quality, vector in self._looks], axis=0)
        length = float(np.linalg.norm(mean))
        return np.asarray(mean / length, np.float32) if length > 1e-6 else best  # opposite looks cancel out
