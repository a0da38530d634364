"""MTCNN on the C engine: P-Net proposes squares in a pyramid of pictures, R-Net sorts them out, O-Net has the last word.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 23 (2016), with the thresholds, overlaps and steps of the authors' program. A network moves the
edges of a window by shares of its sides; between the networks a box becomes the square round it.

P-Net sees all levels of the pyramid at once: they lie beside each other in one picture, at even places, since its cells are 2
pixels apart and see 12 × 12 of them. So a picture is one call, and one plan of the engine.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.native import FACE, suppress
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face
from vultus.stages.onet import SIDE, ONet, crops_of, squares_of
from vultus.stages.view import View
from vultus.weights import Backend, open_network

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

SCORE, NMS_IOU = 0.7, 0.7
"""What its makers suggest."""
_CELL, _STEP = 12, 2
"""Pixels that a cell of P-Net sees, and from one to the next."""
_RNET_SIDE = 24
_SMALLEST = 20
"""Pixels of the smallest face that is looked for in what is shown."""
_FACTOR = 0.709
"""From one level of the pyramid to the next, √½."""
_PNET, _RNET = 0.6, 0.7
"""Scores from which the first two networks let a window pass."""
_WITHIN_LEVEL, _BETWEEN = 0.5, 0.7
"""Overlaps above which of two windows the better one stays, in one level of P-Net, and behind P-Net and R-Net."""
_MOST_PIXELS = 4_000_000
"""Of the picture with all levels; of a larger one the finest levels are coarser. P-Net's first map has 16 numbers each."""
_MOST_WINDOWS = 4_000
"""That go from one network to the next, by score."""


class _Level(Struct, frozen=True, kw_only=True):
    """A level of the pyramid: its size, and where it lies."""

    width: int
    height: int
    left: int
    top: int


class Mtcnn:
    """A loaded detector; `find` may be called from any number of threads."""

    def __init__(
        self,
        pnet: Path,
        rnet: Path,
        onet: Path,
        *,
        threads: int,
        min_face: float = _SMALLEST,
        score: float | None = None,
        nms_iou: float | None = None,
        backend: Backend = "auto",
    ) -> None:
        """Load the files that `weights.mtcnn` made; calls of `find` compute on at most `threads` processors.

        Faces below `min_face` source pixels, or 20 of those shown, are not looked for. `score` is O-Net's; of two of its
        faces that share more than `nms_iou` of the smaller one the better stays. Raises ValueError for other files.
        """
        self._pnet = open_network(pnet, threads=threads, backend=backend)
        self._rnet = open_network(rnet, threads=threads, backend=backend)
        if self._pnet.input_size is not None or self._rnet.input_size != (_RNET_SIDE, _RNET_SIDE):
            raise ValueError(f"{pnet}, {rnet}: not MTCNN's P-Net and R-Net")
        self._onet = ONet(onet, threads=threads, backend=backend)
        self._min_face = min_face
        self._score = SCORE if score is None else score
        self._nms_iou = NMS_IOU if nms_iou is None else nms_iou

    def find(self, view: View) -> list[Face]:
        """Faces of what is shown, in pixels of `view.image`, highest score first."""
        image = Image(view.pixels)
        squares = self._proposed(view.pixels, max(_SMALLEST, self._min_face / view.shrink))
        squares = self._sorted_out(image, squares)
        refined = self._onet.refine(crops_of(image, squares, SIDE), squares)
        boxes = _moved(squares, refined.edges)
        chosen = np.flatnonzero(refined.scores >= self._score)
        kept = _without_shared(boxes[chosen], refined.scores[chosen], self._nms_iou)
        return [view.face(boxes[i], refined.points[i], float(refined.scores[i])) for i in chosen[kept]]

    def _proposed(self, pixels: Pixels, smallest: float) -> Floats:
        """Squares (left, top, side) that P-Net takes for faces."""
        levels = pyramid(pixels.shape[1], pixels.shape[0], smallest)
        if not levels:
            return np.empty((0, 3))
        given = self._pnet.run(_together(pixels, levels)[None])
        found = [
            suppress(_windows(given["scores"][0, 0], given["boxes"][0], level, pixels.shape), _WITHIN_LEVEL)
            for level in levels
        ]
        windows = suppress(_best(np.concatenate(found)), _BETWEEN)
        return squares_of(_moved(_squares(windows), windows["landmarks"][:, :2].reshape(-1, 4)))

    def _sorted_out(self, image: Image, squares: Floats) -> Floats:
        """Those of them that R-Net takes for faces too, moved by it."""
        given = self._rnet.run(crops_of(image, squares, _RNET_SIDE))
        windows = np.zeros(len(squares), FACE)
        windows["box"] = squares[:, [0, 1, 2, 2]]
        windows["score"] = given["scores"][:, 0]
        windows["landmarks"][:, :2] = given["boxes"].reshape(-1, 2, 2)
        windows["place"] = np.arange(len(squares))
        windows = suppress(windows[windows["score"] >= _RNET], _BETWEEN)
        return squares_of(_moved(_squares(windows), windows["landmarks"][:, :2].reshape(-1, 4)))


def pyramid(width: int, height: int, smallest: float) -> list[_Level]:
    """The levels in which faces of `smallest` pixels and more are as large as P-Net's window, without overlap.

    Laid out in rows, the largest first, each level in the first row that has room.
    """
    scale = min(_CELL / smallest, (_MOST_PIXELS / (2.5 * width * height)) ** 0.5)
    sizes = []
    while min(width, height) * scale >= _CELL:
        sizes.append((int(np.ceil(width * scale)), int(np.ceil(height * scale))))
        scale *= _FACTOR
    levels: list[_Level] = []
    rows: list[list[int]] = []  # of each: its top, and where the next level goes
    wide, below = _even(sizes[0][0]) if sizes else 0, 0
    for w, h in sizes:
        row = next((row for row in rows if row[1] + w <= wide), None)
        if row is None:
            row = [below, 0]
            rows.append(row)
            below += _even(h)
        levels.append(_Level(width=w, height=h, left=row[1], top=row[0]))
        row[1] += _even(w)
    return levels


def _even(side: int) -> int:
    return side + side % 2


def _together(pixels: Pixels, levels: list[_Level]) -> Pixels:
    """All levels in one picture."""
    wide = max(level.left + level.width for level in levels)
    high = max(level.top + level.height for level in levels)
    page = np.zeros((high, wide, 3), np.uint8)
    for level in levels:
        part = cv2.resize(pixels, (level.width, level.height), interpolation=cv2.INTER_AREA)
        page[level.top : level.top + level.height, level.left : level.left + level.width] = part
    return page


def _windows(
    scores: npt.NDArray[np.float32], edges: npt.NDArray[np.float32], level: _Level, shape: tuple[int, ...]
) -> npt.NDArray[np.void]:
    """The cells of a level that score, best 4,000, as `FACE`: windows in pixels of the picture, edges in `landmarks`."""
    top, left = level.top // _STEP, level.left // _STEP
    high, wide = (1 + (side - _CELL) // _STEP for side in (level.height, level.width))
    own = scores[top : top + high, left : left + wide]
    rows, columns = np.nonzero(own >= _PNET)
    windows = np.zeros(len(rows), FACE)
    windows["score"] = own[rows, columns]
    windows["place"] = rows * wide + columns
    across, down = shape[1] / level.width, shape[0] / level.height
    windows["box"] = np.column_stack(
        [
            columns * _STEP * across,
            rows * _STEP * down,
            np.full(len(rows), _CELL * across),
            np.full(len(rows), _CELL * down),
        ]
    )
    windows["landmarks"][:, :2] = edges[:, top + rows, left + columns].T.reshape(-1, 2, 2)
    return _best(windows)


def _best(windows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    if len(windows) <= _MOST_WINDOWS:
        return windows
    return windows[np.argsort(-windows["score"], kind="stable")[:_MOST_WINDOWS]]


def _squares(windows: npt.NDArray[np.void]) -> Floats:
    boxes = windows["box"].astype(np.float64)
    return np.column_stack([boxes[:, :2], boxes[:, 2:].max(axis=1, initial=0)])


def _moved(squares: Floats, edges: npt.NDArray[np.floating]) -> Floats:
    """The boxes, left, top, width, height, of squares whose edges are moved by those shares of the side."""
    corners = np.concatenate([squares[:, :2], squares[:, :2] + squares[:, 2:]], axis=1)
    corners += edges * squares[:, 2:]
    return np.concatenate([corners[:, :2], np.maximum(corners[:, 2:] - corners[:, :2], 0)], axis=1)


def _without_shared(boxes: Floats, scores: Floats, most: float) -> npt.NDArray[np.intp]:
    """Which boxes stay, best first, if of two that share more than `most` of the smaller one the better one stays."""
    order = np.argsort(-scores, kind="stable")
    corners, areas = boxes[:, :2] + boxes[:, 2:], boxes[:, 2] * boxes[:, 3]
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        sides = np.minimum(corners[first], corners[rest]) - np.maximum(boxes[first, :2], boxes[rest, :2])
        shared = np.maximum(sides, 0).prod(axis=1)
        order = rest[~(shared > most * np.minimum(areas[first], areas[rest]))]
    return np.array(kept, np.intp)
