"""Face detection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Detections, Face, Frame, Message
from vultus.pipeline.stage import Context
from vultus.stages.yunet import YuNet
from vultus.weights import Registry

_BORDER = 0.5
"""Width of the border put round a photo in which no face was found, as a share of the photo's size."""
_LEAST_EYES = 2.0
"""Eyes nearer to each other than this, in source pixels, give no chip."""


class Detect:
    """Frame → Detections, one for each, also without faces."""

    name: ClassVar[str] = "detect"

    def __init__(self, config: Config, data: Path) -> None:
        self._config = config.detect
        self._model = config.models.detector
        self._backend = config.models.backend
        self._data = data

    def open(self, context: Context) -> None:
        """Load the detector."""
        self._context = context
        model = Registry(self._data).resolve(self._model, "detector")
        self._yunet = YuNet(
            model.path,
            threads=self._config.threads,
            score=self._config.score,
            nms_iou=self._config.nms_iou,
            backend=self._backend,
        )

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        """Counters: `analysed`, `no_face` (frames), `faces`, `too_small`, `no_landmarks` (faces), `second_look` (frames)."""
        for message in batch:
            if isinstance(message, Frame):
                yield self._detect(message)
            else:
                yield message

    def close(self) -> None:
        """Give the network back."""
        self.__dict__.pop("_yunet", None)

    def _detect(self, message: Frame) -> Detections:
        faces = self._faces(message.image, still=message.origin.still)
        self._context.count("analysed", 1)
        if faces and message.origin.live:
            self._context.notice(message.origin.item)
        self._context.count("faces" if faces else "no_face", len(faces) or 1)
        return Detections(origin=message.origin, image=message.image, faces=tuple(faces))

    def _faces(self, image: Image, *, still: bool) -> list[Face]:
        limit = self._config.photo_max_side if still else self._config.max_side
        found = look(self._yunet, image, limit)
        if not found and still:
            # A face that fills the picture is larger than any the network was trained on; with a border it is not.
            self._context.count("second_look", 1)
            found = look_with_border(self._yunet, image, limit)
        return [face for face in found if self._usable(face)]

    def _usable(self, face: Face) -> bool:
        if min(face.box[2:]) < self._config.min_face:
            self._context.count("too_small", 1)
            return False
        (rx, ry), (lx, ly) = face.landmarks[:2]
        if not np.hypot(lx - rx, ly - ry) >= _LEAST_EYES:
            self._context.count("no_landmarks", 1)
            return False
        return True


def look(yunet: YuNet, image: Image, max_side: int) -> list[Face]:
    """Faces of `image` in its own pixels, found at a size of at most `max_side`."""
    height, width = image.height, image.width
    scale = min(1.0, max_side / max(height, width))
    small_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image.scaled(*small_size)
    x_scale, y_scale = width / small_size[0], height / small_size[1]
    return [_moved(face, x_scale, y_scale, 0.0, 0.0) for face in yunet.detect(small)]


def look_with_border(yunet: YuNet, image: Image, max_side: int) -> list[Face]:
    """The same, with a grey border round the picture, for faces that fill it."""
    height, width = image.height, image.width
    # Shrunk first, so that the border does not cost memory in the size of the photo.
    scale = min(1.0, max_side / max(height, width) / (1 + 2 * _BORDER))
    small_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image.scaled(*small_size)
    across, down = round(small_size[0] * _BORDER), round(small_size[1] * _BORDER)
    framed = cv2.copyMakeBorder(small, down, down, across, across, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    x_scale, y_scale = width / small_size[0], height / small_size[1]
    faces = yunet.detect(np.asarray(framed, np.uint8))
    return [_moved(face, x_scale, y_scale, -across * x_scale, -down * y_scale) for face in faces]


def _moved(face: Face, x_scale: float, y_scale: float, x_shift: float, y_shift: float) -> Face:
    x, y, w, h = face.box
    a, b, c, d, e = ((px * x_scale + x_shift, py * y_scale + y_shift) for px, py in face.landmarks)
    return Face(
        box=(x * x_scale + x_shift, y * y_scale + y_shift, w * x_scale, h * y_scale),
        landmarks=(a, b, c, d, e),
        score=face.score,
    )
