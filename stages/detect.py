"""Face detection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Detections, Face, Frame, Message
from vultus.pipeline.stage import Context
from vultus.stages.detector import open_detector
from vultus.stages.landmarks import eyes_apart
from vultus.stages.view import View

_BORDER = 0.5
"""Width of the border put round a photo in which no face was found, as a share of the photo's size."""


class Detect:
    """Frame → Detections, one for each, also without faces."""

    name: ClassVar[str] = "detect"

    def __init__(self, config: Config, data: Path) -> None:
        self._whole = config
        self._config = config.detect
        self._data = data

    def open(self, context: Context) -> None:
        """Load the detector."""
        self._context = context
        self._detector = open_detector(self._whole, self._data)

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        """Counters: `analysed`, `no_face` (frames), `faces`, `too_small`, `no_landmarks` (faces), `second_look` (frames)."""
        for message in batch:
            if isinstance(message, Frame):
                yield self._detect(message)
            else:
                yield message

    def close(self) -> None:
        """Give the network back."""
        self.__dict__.pop("_detector", None)

    def _detect(self, message: Frame) -> Detections:
        faces = self._faces(message.image, still=message.origin.still)
        self._context.count("analysed", 1)
        if faces and message.origin.live:
            self._context.notice(message.origin.item)
        self._context.count("faces" if faces else "no_face", len(faces) or 1)
        return Detections(origin=message.origin, image=message.image, faces=tuple(faces))

    def _faces(self, image: Image, *, still: bool) -> list[Face]:
        limit, size = self._config.photo_max_side if still else self._config.max_side, self._config.size
        found = self._detector.find(View(image, limit, size=size))
        if not found and still:
            # A face that fills the picture is larger than any the network was trained on; with a border it is not.
            self._context.count("second_look", 1)
            found = self._detector.find(View(image, limit, size=size, border=_BORDER))
        return [face for face in found if self._usable(face)]

    def _usable(self, face: Face) -> bool:
        if min(face.box[2:]) < self._config.min_face:
            self._context.count("too_small", 1)
            return False
        if not eyes_apart(face.landmarks):
            self._context.count("no_landmarks", 1)
            return False
        return True
