"""The landmarks that faces are aligned by: the detector's own, or O-Net's in its boxes.

O-Net looks at faces that are to be embedded, and at no others: of a camera's, few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from vultus.configs.loader import data_folder
from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face, Landmarks
from vultus.stages.onet import POINTS_FROM, ONet
from vultus.weights import Registry

_ONET = "mtcnn_onet"
_LEAST_EYES = 2.0
"""Eyes nearer to each other than this, in source pixels, give no chip."""


def landmark_models(config: Config) -> tuple[str, ...]:
    """The models that aligning faces takes besides the detector and what that needs itself."""
    return (_ONET,) if config.detect.landmarks == "onet" else ()


def open_landmarks(config: Config, data: Path | None = None) -> ONet | None:
    """O-Net, if faces are aligned by its landmarks and the detector does not have them from it already.

    `data` (none: the user's data folder) holds the models. Raises UnknownModel, ModelMissing with the command that fetches
    it, or ModelRefused.
    """
    registry = Registry(data or data_folder())
    if config.detect.landmarks == "own" or _ONET in registry.entry(config.models.detector).needs:
        return None
    path = registry.resolve(_ONET, "part").path
    return ONet(path, threads=config.detect.threads, backend=config.models.backend)


def relocated(onet: ONet, image: Image, faces: Sequence[Face]) -> list[Face]:
    """The faces with O-Net's landmarks; one in whose box it sees no face, or none that gives a chip, keeps its own."""
    refined = onet.look(image, np.array([face.box for face in faces], np.float64).reshape(-1, 4))
    moved = []
    for face, score, points in zip(faces, refined.scores.tolist(), refined.points.tolist(), strict=True):
        a, b, c, d, e = ((x, y) for x, y in points)
        five = a, b, c, d, e
        moved.append(replace(face, landmarks=five) if score >= POINTS_FROM and eyes_apart(five) else face)
    return moved


def eyes_apart(landmarks: Landmarks) -> bool:
    """Whether the eyes are so far from each other, in source pixels, that the landmarks give a chip."""
    (rx, ry), (lx, ly) = landmarks[:2]
    return math.hypot(lx - rx, ly - ry) >= _LEAST_EYES
