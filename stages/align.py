"""Face alignment: five landmarks to a 112×112 picture in which every face has its eyes, nose and mouth in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Chips, Landmarks, Message, Tracked, TrackedFace
from vultus.pipeline.stage import Context
from vultus.stages.landmarks import open_landmarks, relocated
from vultus.stages.onet import ONet

SIDE = 112
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float64
)
"""Where the right eye, left eye, nose, right and left mouth corner lie in a chip; `(5, 2)` pixels `(x, y)`.

The template of ArcFace (Deng et al. 2019), which OpenCV's FaceRecognizerSF uses as well.
"""
_SHRINK_BEFORE = 2.0
"""Faces this many times larger than a chip are averaged down first: a bilinear warp alone would skip pixels."""


class Align:
    """Tracked → Chips: cuts every chosen face out of its frame, upright and at one scale."""

    name: ClassVar[str] = "align"

    def __init__(self, config: Config, data: Path) -> None:
        self._config = config
        self._data = data
        self._onet: ONet | None = None

    def open(self, context: Context) -> None:
        """Load O-Net, if the landmarks are to be its."""
        self._context = context
        self._onet = open_landmarks(self._config, self._data)

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        """One `Chips` for each `Tracked`, with as many chips as faces; everything else passes. Counter: `own_landmarks`,
        faces that keep the detector's because O-Net sees none in their box."""
        for message in batch:
            if isinstance(message, Tracked):
                yield self._chips(message)
            else:
                yield message

    def close(self) -> None:
        """Give the network back."""
        self._onet = None

    def _chips(self, message: Tracked) -> Chips:
        faces = message.faces
        if self._onet is not None and faces:
            moved = relocated(self._onet, message.image, [tracked.face for tracked in faces])
            if kept := sum(one.face is same for one, same in zip(faces, moved, strict=True)):
                self._context.count("own_landmarks", kept)
            faces = tuple(
                replace(tracked, face=face, found=tracked.face.landmarks)
                for tracked, face in zip(faces, moved, strict=True)
            )
        return Chips(origin=message.origin, faces=faces, chips=_cuts(message.image, faces), alive=message.alive)


def _cuts(image: Image, faces: Sequence[TrackedFace]) -> npt.NDArray[np.uint8]:
    chips = np.empty((len(faces), SIDE, SIDE, 3), np.uint8)
    for number, tracked in enumerate(faces):
        chips[number] = cut(image, tracked.face.landmarks)
    return chips


def cut(image: Image, landmarks: Landmarks) -> npt.NDArray[np.uint8]:
    """`crop`, of which only the part of `image` that the chip shows is converted to BGR."""
    points = np.asarray(landmarks, np.float64)
    corners = _corners(similarity(points, TEMPLATE))
    margin = 2 + (corners.max(axis=1) - corners.min(axis=1)).max() / SIDE  # what `_shrunk` adds
    low = np.maximum(np.floor(corners.min(axis=1) - margin), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=1) + margin), (image.width, image.height)).astype(int)
    if (high <= low).any():
        return np.zeros((SIDE, SIDE, 3), np.uint8)
    part, left, top = image.patch(low[0], low[1], high[0], high[1])
    a, b, c, d, e = ((x - left, y - top) for x, y in landmarks)
    return crop(part, (a, b, c, d, e))


def crop(image: npt.NDArray[np.uint8], landmarks: Landmarks) -> npt.NDArray[np.uint8]:
    """The chip of one face, `(112, 112, 3)` uint8 BGR, from `image` `(h, w, 3)` uint8 BGR; black outside the picture.

    Raises ValueError if the landmarks fall into one point.
    """
    matrix = similarity(np.asarray(landmarks, np.float64), TEMPLATE)
    shrink = 1.0 / float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink >= _SHRINK_BEFORE:
        image, matrix = _shrunk(image, matrix, int(shrink))
    chip = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(chip, np.uint8)


def similarity(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rotation, uniform scale and shift that bring `source` nearest to `target` in the least-squares sense.

    Both are `(n, 2)` points; the result is `(2, 3)`, to be applied to `(x, y, 1)`. Never mirrors.
    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 13 (1991),
    equations 39 to 42; in two dimensions the singular value decomposition has this closed form.
    Raises ValueError if all points of `source` coincide.
    """
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_centre, target - to_centre
    spread = float((a * a).sum())
    if not spread > 1e-9:
        raise ValueError("landmarks fall into one point; no transform brings them to the template")
    cosine = float((a * b).sum()) / spread
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([linear, (to_centre - linear @ from_centre)[:, None]])


def _corners(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where the corners of a chip lie in the picture, `(2, 4)`."""
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    return np.asarray(inverse[:2] @ np.array([(0, 0, 1), (SIDE, 0, 1), (0, SIDE, 1), (SIDE, SIDE, 1)], np.float64).T)


def _shrunk(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], factor: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The part of `image` that the chip shows, averaged over `factor`×`factor` pixels, and the matrix for that part."""
    corners = _corners(matrix)
    height, width = image.shape[:2]
    x0, y0 = (max(0, int(np.floor(low)) - factor) for low in corners.min(axis=1))
    x1 = min(width, int(np.ceil(corners[0].max())) + factor)
    y1 = min(height, int(np.ceil(corners[1].max())) + factor)
    columns, rows = (x1 - x0) // factor, (y1 - y0) // factor
    if columns < 1 or rows < 1:
        return image, matrix
    part = image[y0 : y0 + rows * factor, x0 : x0 + columns * factor]
    small = np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel centres: column c of the small picture covers x0 + c·f … x0 + c·f + f − 1, so its centre is at + (f − 1)/2.
    offset = (factor - 1) / 2
    back = np.array([[factor, 0, x0 + offset], [0, factor, y0 + offset], [0, 0, 1]])
    return small, matrix @ back
