"""O-Net's landmarks on the boxes of a detector that has landmarks of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from vultus.pipeline.messages import Face
from vultus.stages.onet import POINTS_FROM, ONet
from vultus.stages.view import View
from vultus.weights import Backend

if TYPE_CHECKING:
    from vultus.stages.detector import Detector


class Relocated:
    """A detector whose faces get their landmarks from O-Net; a face in which O-Net sees none keeps its own."""

    def __init__(self, detector: Detector, onet: Path, *, threads: int, backend: Backend = "auto") -> None:
        """Load O-Net; calls compute on at most `threads` processors. Raises ValueError for another file."""
        self._detector = detector
        self._onet = ONet(onet, threads=threads, backend=backend)

    def find(self, view: View) -> list[Face]:
        """The detector's faces, boxes and scores."""
        faces = self._detector.find(view)
        refined = self._onet.look(view.image, np.array([face.box for face in faces], np.float64).reshape(-1, 4))
        return [
            _with(face, points) if score >= POINTS_FROM else face
            for face, score, points in zip(faces, refined.scores.tolist(), refined.points.tolist(), strict=True)
        ]


def _with(face: Face, points: list[list[float]]) -> Face:
    a, b, c, d, e = ((x, y) for x, y in points)
    return replace(face, landmarks=(a, b, c, d, e))
