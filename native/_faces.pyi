"""Faces from a detector's numbers: decoding of heads and non-maximum suppression, in C."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Faces = npt.NDArray[np.void]

FACE: np.dtype[Any]
"""A face, in pixels of the picture that the network was given: `box` `(4,)` float32 left, top, width, height; `score` float32,
0..1; `landmarks` `(5, 2)` float32 x, y of right eye, left eye, nose, right and left corner of the mouth, zeros if the detector
has none; `place` uint32, which of the network's places it comes from."""

def decode_yunet(heads: Mapping[str, Floats], size: tuple[int, int], score: float, most: int = 5000) -> Faces:
    """Faces of one picture from YuNet's twelve heads, at or above `score` (0..1), in no order.

    `heads` are `cls_8` to `kps_32` as `Network.run` gives them for one picture of `size` (height, width; multiples of 32).
    Of more than `most` faces, those of the highest scores are given. What is not finite is left out.
    Raises ValueError for a head that is missing or of another size, TypeError if it is no float32 array.
    """

def decode_ultralight(
    scores: Floats, locations: Floats, size: tuple[int, int], score: float, most: int = 5000
) -> Faces:
    """The same of an Ultra-Light detector, whose graph ends in its heads: `scores` `(rows, 2)` after softmax, no face and
    face; `locations` `(rows, 4)`, relative to the priors (sides 10, 16, 24 / 32, 48 / 64, 96 / 128, 192, 256 pixels at the
    strides 8 / 16 / 32 / 64; variances 0.1 and 0.2). `size` may be any. Landmarks are zeros.
    """

def suppress(faces: Faces, iou: float) -> Faces:
    """Greedy non-maximum suppression: those of `faces` (`FACE`, `(n,)`) that stay, highest score first, as a new array.

    Of faces that share more than `iou` (0..1) of the area they cover together the one of the higher score stays; of equal
    scores that of the lower `place`. What is not finite is left out.
    """
