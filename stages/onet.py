"""O-Net, the last network of MTCNN: whether a square part of a picture shows a face, and where its five points are.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 23 (2016).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.pipeline.frames import Image
from vultus.weights import Backend, open_network

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

SIDE = 48
POINTS_FROM = 0.3
"""O-Net's score of a detector's box from which on its landmarks are worth something. Of the 183 to 187 faces on 157
photographs that each Ultra-Light detector found, as YuNet did, it was below in 1, 1, 2 and 4 (RFB-640); of their 11, 4, 10
and 7 other boxes in 8, 3, 8 and 3.
"""


class Refined(Struct, frozen=True, eq=False):
    """What O-Net says about `n` squares."""

    scores: Floats
    """`(n,)`, 0..1: the probability of a face."""
    edges: Floats
    """`(n, 4)`: how far the square's left, top, right and bottom edge are from the face's, in shares of its side."""
    points: Floats
    """`(n, 5, 2)`: right eye, left eye, nose, right and left corner of the mouth, x and y in pixels of the picture."""


class ONet:
    """The loaded network; `refine` may be called from any number of threads."""

    def __init__(self, path: Path, *, threads: int, backend: Backend = "auto") -> None:
        """Load the file that `weights.mtcnn` made. Raises ValueError for another one."""
        self._network = open_network(path, threads=threads, backend=backend)
        if self._network.input_size != (SIDE, SIDE) or set(self._network.outputs()) != {"scores", "boxes", "points"}:
            raise ValueError(f"{path}: not MTCNN's O-Net")

    def refine(self, crops: Pixels, squares: Floats) -> Refined:
        """What the network says about `crops`, `(n, 48, 48, 3)` uint8 BGR, which show `squares`, `(n, 3)`: left, top, side."""
        given = self._network.run(crops)
        shares = given["points"].astype(np.float64).reshape(-1, 2, 5).transpose(0, 2, 1)
        points = squares[:, None, :2] + shares * squares[:, None, 2:]
        return Refined(given["scores"][:, 0].astype(np.float64), given["boxes"].astype(np.float64), points)

    def look(self, image: Image, boxes: Floats) -> Refined:
        """What the network says about the squares round boxes of another detector, `(n, 4)`: left, top, width, height."""
        squares = squares_of(boxes)
        return self.refine(crops_of(image, squares, SIDE), squares)


def squares_of(boxes: Floats) -> Floats:
    """The squares, left, top, side, `(n, 3)`, with the centres and longer sides of boxes `(n, 4)`, left, top, width, height."""
    side = boxes[:, 2:].max(axis=1, initial=0)
    return np.column_stack([boxes[:, :2] + (boxes[:, 2:] - side[:, None]) / 2, side])


def crops_of(image: Image, squares: Iterable[npt.NDArray[np.float64]], side: int) -> Pixels:
    """What each square (left, top, side) of `image` shows, `(n, side, side, 3)` uint8 BGR; black beyond the picture.

    Shrunk by averaging. A square may be of any size, and lie anywhere; what it takes is bounded by the picture.
    """
    crops = [_crop(image, square, side) for square in squares]
    return np.stack(crops) if crops else np.empty((0, side, side, 3), np.uint8)


def _crop(image: Image, square: npt.NDArray[np.float64], side: int) -> Pixels:
    crop = np.zeros((side, side, 3), np.uint8)
    left, top, length = square.tolist()
    x = _meeting(left, length, image.width, side)
    y = _meeting(top, length, image.height, side)
    if x is None or y is None:
        return crop
    (x0, x1, to_x, wide), (y0, y1, to_y, high) = x, y
    patch, at_x, at_y = image.patch(x0, y0, x1, y1)
    part = patch[y0 - at_y : y1 - at_y, x0 - at_x : x1 - at_x]
    small = cv2.resize(part, (wide, high), interpolation=cv2.INTER_AREA)
    crop[to_y : to_y + high, to_x : to_x + wide] = small
    return crop


def _meeting(begin: float, length: float, most: int, side: int) -> tuple[int, int, int, int] | None:
    """Along one axis, the pixels of the picture that a square shows, first and behind the last, and where in the crop they
    go: the first and how many. None where they do not meet."""
    low, high = max(0, round(max(begin, -1e9))), min(most, round(min(begin + length, 1e9)))
    if not (high > low and length >= 1):
        return None
    if low - begin < 1 and begin + length - high < 1:
        return low, high, 0, side
    first = min(side - 1, max(0, round((low - begin) / length * side)))
    last = min(side, max(first + 1, round((high - begin) / length * side)))
    return low, high, first, last - first
