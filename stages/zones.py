"""Parts of a picture that are nobody's business, and parts whose movement means nothing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vultus.configs.schema import Polygon
from vultus.pipeline.frames import Image
from vultus.pipeline.pixels import views

Pixels = npt.NDArray[np.uint8]


def covered(image: Image, zones: Sequence[Polygon]) -> Image:
    """The picture with `zones` painted black, so that no stage behind this one ever sees what is in them."""
    if not zones:
        return image
    layout = image.layout
    chunks = [chunk.copy() for chunk in image.chunks]  # a decoder builds its next pictures on its own
    # Limited range or full, Y 0 is black; U and V 128 are no colour.
    for plane, value in zip(views(layout, chunks), (0, 128, 128), strict=False):
        cv2.fillPoly(plane, _points(zones, plane.shape[1], plane.shape[0]), (value,) * 3)
    return Image.planar(layout, chunks)


def open_places(ignored: Sequence[Polygon], width: int, height: int) -> npt.NDArray[np.bool_]:
    """`(height, width)`: where a picture of that size counts, outside of all polygons."""
    places = np.ones((height, width), np.uint8)
    if ignored:
        cv2.fillPoly(places, _points(ignored, width, height), (0,))
    return places.astype(np.bool_)


def _points(polygons: Sequence[Polygon], width: int, height: int) -> list[npt.NDArray[np.int32]]:
    return [np.rint(np.array(polygon) * (width, height)).astype(np.int32) for polygon in polygons]
