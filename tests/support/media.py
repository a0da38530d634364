"""Support for tests with moving pictures: videos of real portraits that move."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from msgspec import Struct

from vultus.stages import video


class Walk(Struct, frozen=True):
    """A portrait that moves in a straight line from `start` to `end` (top left corner, pixels) within the video."""

    portrait: np.ndarray
    """`(h, w, 3)` uint8 BGR; shown as it is."""
    start: tuple[float, float]
    end: tuple[float, float]
    first: int = 0
    last: int | None = None
    """Frames in which it is there; none = to the end."""


def portrait(path: Path, height: int) -> np.ndarray:
    """A photograph at that height, `(height, w, 3)` uint8 BGR."""
    image = cv2.imread(str(path))
    assert image is not None, path
    return cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA)


def frames(walks: Sequence[Walk], count: int, size: tuple[int, int] = (640, 360)) -> Iterator[np.ndarray]:
    """`count` pictures of `size` (width, height), `(h, w, 3)` uint8 BGR, on a textured background."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    ground = np.stack([90 + 30 * np.sin(x / 37.0), 100 + 25 * np.cos(y / 23.0), 110 + 20 * np.sin((x + y) / 51.0)], 2)
    for number in range(count):
        picture = ground.astype(np.uint8)
        for walk in walks:
            last = count - 1 if walk.last is None else walk.last
            if walk.first <= number <= last:
                part = (number - walk.first) / max(1, last - walk.first)
                at = [round(a + (b - a) * part) for a, b in zip(walk.start, walk.end, strict=True)]
                _paste(picture, walk.portrait, at[0], at[1])
        yield picture


def write_video(path: Path, pictures: Iterable[np.ndarray]) -> Path:
    """An MP4 file of them, 25 a second, as `stages/video.py` describes it."""
    video.write(path, pictures, 25)
    return path


def _paste(picture: np.ndarray, part: np.ndarray, x: int, y: int) -> None:
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(picture.shape[1], x + part.shape[1]), min(picture.shape[0], y + part.shape[0])
    if x0 < x1 and y0 < y1:
        picture[y0:y1, x0:x1] = part[y0 - y : y1 - y, x0 - x : x1 - x]
