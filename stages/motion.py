"""Whether something moves before a camera, seen on a picture the size of a stamp."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vultus.configs.schema import Polygon
from vultus.stages.zones import open_places

_SIZE = (160, 90)
_LEAST_STEP = 10.0
"""Grey levels, of 255, by which a place has to change, however little noise there is."""
_NOISES = 6.0
"""And by so many times the noise, which is measured: the median change of all places."""
_LEAST_PLACES = 8
"""So many places of 160×90: somebody whose face is 20 pixels wide in 1080p covers about 30."""
_LEARN, _LEARN_MOVING = 0.1, 0.03
"""How much of each look goes into the background. What stopped moving becomes background after some 30 looks."""


class Motion:
    """Compares each picture with a background that follows slow changes of light. For one camera."""

    def __init__(self, ignored: Sequence[Polygon] = ()) -> None:
        """`ignored`: polygons, in shares of width and height, where nothing counts."""
        self._places = open_places(ignored, *_SIZE)
        self._background: npt.NDArray[np.float32] | None = None

    def look(self, luma: npt.NDArray[np.uint8]) -> bool:
        """Whether the picture, brightness `(h, w)` uint8 of any size, differs from the background. The first one does."""
        # Every fourth row is enough to average noise out, and four times as fast: 0.2 ms of 1080p.
        rows = luma[:: max(1, min(4, luma.shape[0] // _SIZE[1]))]
        small = cv2.resize(rows, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._background is None:
            self._background = small
            return True
        change = small - self._background
        change -= np.median(change)  # a lamp, a cloud, the camera's own exposure
        strength = np.abs(change)
        limit = max(_LEAST_STEP, _NOISES * float(np.median(strength)))
        moving = int(((strength > limit) & self._places).sum()) >= _LEAST_PLACES
        self._background += (_LEARN_MOVING if moving else _LEARN) * (small - self._background)
        return moving
