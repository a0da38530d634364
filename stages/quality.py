"""How well a face can be recognised, as one number from 0 to 1, told from the picture: what stands in for quality with
embedders whose vectors do not say it themselves (`stages/embed.py`).

    quality = score · exposure · ∛(size · sharpness · pose)

| term | is |
|---|---|
| score | the detector's confidence |
| size | shorter side of the box, 0 at 16 pixels, 1 from 112 pixels (the size of a chip) on |
| sharpness | v / (v + 0.12), with v = variance of the Laplacian ÷ variance of the grey values, of the face at 64×64 |
| exposure | 1; towards 0 where the face's mean grey is below 40 or above 225 of 255 |
| pose | how far the nose is from where it is on a frontal face, along and across the line between the eyes |

The geometric mean makes one bad property enough for a bad quality. Dividing the Laplacian's variance (Pech-Pacheco et
al., "Diatom autofocusing in brightfield microscopy", ICPR 2000) by that of the picture makes it independent of light
and contrast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.pipeline.messages import Box, Face, Landmarks

if TYPE_CHECKING:
    from vultus.stages.finder import FoundFace

_SIZE_NONE, _SIZE_FULL = 16.0, 112.0
_SIDE = 64
_HALF_SHARP = 0.12
"""Relative variance of the Laplacian at which sharpness is one half; portraits blurred with a Gaussian whose σ is 1/64 of
the face have about that, sharp ones 0.4 to 0.7."""
_DARK, _BRIGHT = 40.0, 225.0
"""Mean grey of a face below and above which it has lost detail to the shadows or the highlights."""
_LEAST_VARIANCE = 25.0
"""Grey variance below which a crop counts as flat, so that noise on a flat patch is not taken for sharpness."""
_GOOD_ENOUGH = 0.7
"""A face whose worst term is this lacks nothing worth a word."""

Reason = Literal["small", "blurred", "turned", "dark", "unsure"]
WORDS: dict[Reason, str] = {
    "small": "it is small",
    "blurred": "it is blurred",
    "turned": "it is turned away",
    "dark": "it is too dark or too bright",
    "unsure": "it is hardly a face",
}


class Grade(Struct, frozen=True, gc=False):
    """The quality of a face and its terms, each 0..1, higher is better."""

    size: float
    sharpness: float
    pose: float
    exposure: float
    score: float

    @property
    def quality(self) -> float:
        """All in one number."""
        return self.score * self.exposure * math.cbrt(self.size * self.sharpness * self.pose)

    @property
    def reason(self) -> Reason:
        """What it lacks most; `dark` is too bright as well, `unsure` is the detector."""
        return min(self._weighed)[1]

    @property
    def lacks(self) -> Reason | None:
        """The same, if it is worth a word."""
        worst, reason = min(self._weighed)
        return reason if worst < _GOOD_ENOUGH else None

    @property
    def _weighed(self) -> tuple[tuple[float, Reason], ...]:
        return (
            (self.size, "small"),
            (self.sharpness, "blurred"),
            (self.pose, "turned"),
            (self.exposure**3, "dark"),  # they count with their cubes, compared with the others
            (self.score**3, "unsure"),
        )


def grade(image: npt.NDArray[np.uint8], face: Face) -> Grade:
    """How well `face` in `image`, `(h, w, 3)` uint8 BGR, can be recognised."""
    sharp, light = _looks(image, face.box)
    return Grade(size(face.box), sharp, pose(face.landmarks), light, min(1.0, max(0.0, face.score)))


def grade_found(image: npt.NDArray[np.uint8], face: FoundFace) -> Grade:
    """The same of a face that a `FaceFinder` found in `image`."""
    return grade(image, Face(box=face.box, landmarks=face.found, score=face.score))


def why(terms: Grade, magnitude: float | None) -> str:
    """The reason for which a face is not good enough, in words; `magnitude` as in `FoundFace`."""
    lacking = WORDS[terms.reason]
    return lacking if magnitude is None else f"its embedding's length is {magnitude:.1f}; {lacking}"


def quality(image: npt.NDArray[np.uint8], face: Face) -> float:
    """Quality of `face` in `image`, `(h, w, 3)` uint8 BGR; 0..1, higher is better."""
    return grade(image, face).quality


def size(box: Box) -> float:
    """0..1, linear in the shorter side."""
    return float(np.clip((min(box[2], box[3]) - _SIZE_NONE) / (_SIZE_FULL - _SIZE_NONE), 0.0, 1.0))


def sharpness(image: npt.NDArray[np.uint8], box: Box) -> float:
    """0..1; 0 for a box outside the picture or without any contrast."""
    return _looks(image, box)[0]


def exposure(image: npt.NDArray[np.uint8], box: Box) -> float:
    """0..1; 0 for a box outside the picture, or all black or white."""
    return _looks(image, box)[1]


def _looks(image: npt.NDArray[np.uint8], box: Box) -> tuple[float, float]:
    """Sharpness and exposure."""
    height, width = image.shape[:2]
    x0, y0 = max(0, int(box[0])), max(0, int(box[1]))
    x1, y1 = min(width, int(np.ceil(box[0] + box[2]))), min(height, int(np.ceil(box[1] + box[3])))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return 0.0, 0.0
    shrinks = min(x1 - x0, y1 - y0) > _SIDE
    small = cv2.resize(
        image[y0:y1, x0:x1], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    detail = float(cv2.Laplacian(grey, cv2.CV_32F).var()) / max(float(grey.var()), _LEAST_VARIANCE)
    mean = float(grey.mean())
    light = min(1.0, mean / _DARK, (255.0 - mean) / (255.0 - _BRIGHT))
    return detail / (detail + _HALF_SHARP), light


def pose(landmarks: Landmarks) -> float:
    """0..1; 1 for a frontal face, 0 from full profile on or for landmarks that are no face.

    Measured along and across the line between the eyes, from the point between them, the nose of a frontal face lies at
    0 along and half way down to the mouth. Turning the head moves it along by up to one half of the face's width,
    nodding moves it towards eyes or mouth. The unit is the larger of the eyes' distance, which turning shortens, and
    the distance from eyes to mouth, which nodding shortens.
    """
    points = np.asarray(landmarks, np.float64)
    middle, eyes = (points[0] + points[1]) / 2, points[1] - points[0]
    nose, mouth = points[2] - middle, (points[3] + points[4]) / 2 - middle
    distance = float(np.hypot(*eyes))
    if distance < 1.0:
        return 0.0
    along = eyes / distance
    across = np.array([-along[1], along[0]])
    down = float(mouth @ across)
    unit = max(distance, down)
    if down < 0.2 * unit:  # the mouth is beside or above the eyes
        return 0.0
    turn = abs(float(nose @ along)) / unit
    nod = abs(float(nose @ across) / down - 0.5)
    return max(0.0, 1.0 - 2.0 * turn) * max(0.0, 1.0 - 2.0 * nod)
