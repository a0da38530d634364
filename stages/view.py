"""A picture as a detector is shown it, and the way back to the picture's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face

_GREY = (128, 128, 128)


class View:
    """`image`, shrunk to `pixels`, `(h, w, 3)` uint8 BGR, with a border round it or filled up to a size with black."""

    __slots__ = ("_across", "_down", "_left", "_top", "image", "pixels")

    def __init__(
        self, image: Image, max_side: int, *, border: float = 0.0, size: tuple[int, int] | None = None
    ) -> None:
        """Show `image` with no side longer than `max_side`, or within `size` (width, height) and filled up to it.

        It is never enlarged. `border` is grey, on all four sides, as a share of the picture's side; it counts as part of
        the picture for the sizes.
        """
        width, height = image.width, image.height
        whole = 1 + 2 * border
        most = size or (max_side, max_side)
        scale = min(1.0, most[0] / (width * whole), most[1] / (height * whole))
        # Shrunk first, so that the border does not cost memory in the size of the photo.
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        self.image = image
        self._left, self._top = round(small[0] * border), round(small[1] * border)
        pixels = _framed(image.scaled(*small), self._left, self._top)
        if size is not None:
            pixels = _filled(pixels, size)
        self.pixels = pixels
        self._across, self._down = width / small[0], height / small[1]

    @property
    def shrink(self) -> float:
        """How many of the picture's pixels are one of `pixels`, along its less shrunk side."""
        return min(self._across, self._down)

    def source(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Points `(..., 2)` of `pixels`, x and y, as points of `image`."""
        return (points - (self._left, self._top)) * (self._across, self._down)

    def face(self, box: npt.ArrayLike, landmarks: npt.ArrayLike, score: float) -> Face:
        """A face of `pixels` (left, top, width, height; five points) as one of `image`."""
        x, y, w, h = np.asarray(box, np.float64).tolist()
        (left, top), (right, bottom) = self.source(np.array([(x, y), (x + w, y + h)])).tolist()
        a, b, c, d, e = ((px, py) for px, py in self.source(np.asarray(landmarks, np.float64)).tolist())
        return Face(box=(left, top, right - left, bottom - top), landmarks=(a, b, c, d, e), score=float(score))


def _framed(pixels: npt.NDArray[np.uint8], across: int, down: int) -> npt.NDArray[np.uint8]:
    if not (across or down):
        return pixels
    framed = cv2.copyMakeBorder(pixels, down, down, across, across, cv2.BORDER_CONSTANT, value=_GREY)
    return np.asarray(framed, np.uint8)


def _filled(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    down, across = max(0, size[1] - pixels.shape[0]), max(0, size[0] - pixels.shape[1])
    return np.asarray(cv2.copyMakeBorder(pixels, 0, down, 0, across, cv2.BORDER_CONSTANT), np.uint8)
