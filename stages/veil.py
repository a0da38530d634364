"""Faces that are not to be recognised in a picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vultus.pipeline.messages import Box

SQUARES = 5
"""Across a veiled face."""


def cover(pixels: npt.NDArray[np.uint8], box: Box) -> None:
    """Replace a head in `pixels`, `(h, w, 3)` uint8, by a few squares of its mean colours: unlike a blur they cannot be
    undone. `box` is the face's, in these pixels; more than that is covered, since ears and hair tell who it is.
    """
    x, y, w, h = box
    left, top = max(0, round(x - w / 4)), max(0, round(y - h / 3))
    right, bottom = min(pixels.shape[1], round(x + 1.25 * w)), min(pixels.shape[0], round(y + 1.25 * h))
    if left >= right or top >= bottom:
        return
    part = pixels[top:bottom, left:right]
    squares = min(SQUARES, right - left), min(SQUARES, bottom - top)
    coarse = cv2.resize(part, squares, interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
