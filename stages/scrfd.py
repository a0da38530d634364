"""SCRFD, InsightFace's detector with five landmarks, for pictures of any size.

J. Guo, J. Deng, A. Lattas, S. Zafeiriou, "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022.
At each cell (column c, row r) of the strides s = 8, 16, 32 stand two anchors; for each the network gives a score, how far the
box's edges are from the cell's corner, and where the landmarks are from there:

    left, top = (c − l)·s, (r − t)·s    right, bottom = (c + r')·s, (r + b)·s    landmark k = ((c + kx)·s, (r + ky)·s)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vultus.native import FACE, suppress
from vultus.pipeline.messages import Face
from vultus.stages.view import View
from vultus.weights import Backend, open_network

Heads = Mapping[str, npt.NDArray[np.float32]]

SCORE, NMS_IOU = 0.5, 0.4
"""What its makers suggest."""
_STRIDES, _ANCHORS = (8, 16, 32), 2
_COLUMNS = {"scores": 1, "boxes": 4, "points": 10}
_MOST = 5000
"""Candidates of one picture, by score."""
_TRIED = 64
"""Side of the picture that a file's outputs are told by."""


class Scrfd:
    """A loaded detector; its methods may be called from any number of threads."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        score: float | None = None,
        nms_iou: float | None = None,
        backend: Backend = "auto",
    ) -> None:
        """Load the file as InsightFace publishes it, with its normalisation declared; calls compute on at most `threads`.

        Raises ValueError if it has other outputs than scores, boxes and points of three strides.
        """
        self._network = open_network(path, threads=threads, backend=backend)
        size = self._network.input_size or (_TRIED, _TRIED)
        shapes = {name: shape[-2:] for name, shape in self._network.outputs(size).items()}
        self._names: dict[tuple[str, int], str] = {}
        for what, columns in _COLUMNS.items():
            for stride in _STRIDES:
                rows = (size[0] // stride) * (size[1] // stride) * _ANCHORS
                found = [name for name, shape in shapes.items() if tuple(shape) == (rows, columns)]
                if len(found) != 1 or len(shapes) != len(_COLUMNS) * len(_STRIDES):
                    raise ValueError(f"{path}: not an SCRFD detector with landmarks: no {what} of stride {stride}")
                self._names[what, stride] = found[0]
        self._score = SCORE if score is None else score
        self._nms_iou = NMS_IOU if nms_iou is None else nms_iou

    def find(self, view: View) -> list[Face]:
        """Faces of what is shown, in pixels of `view.image`, highest score first."""
        return [view.face(face["box"], face["landmarks"], float(face["score"])) for face in self.detect(view.pixels)]

    def detect(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
        """Faces in `image`, `(h, w, 3)` uint8 BGR, at the size it has, as `vultus.native.FACE`, highest score first."""
        own = self._network.input_size
        rows, columns = (-(-side // 32) * 32 for side in image.shape[:2]) if own is None else own
        if own is not None and (image.shape[0] > rows or image.shape[1] > columns):
            raise ValueError(f"the file takes {columns}×{rows} pixels only; set detect.input_size to {columns}x{rows}")
        down, across = rows - image.shape[0], columns - image.shape[1]
        padded = cv2.copyMakeBorder(image, 0, down, 0, across, cv2.BORDER_CONSTANT)
        heads = self._network.run(np.asarray(padded, np.uint8)[None])
        return suppress(self._candidates(heads, columns), self._nms_iou)

    def _candidates(self, heads: Heads, width: int) -> npt.NDArray[np.void]:
        found, place = [], 0
        for stride in _STRIDES:
            scores, boxes, points = (
                heads[self._names[what, stride]].reshape(-1, columns) for what, columns in _COLUMNS.items()
            )
            chosen = np.flatnonzero(scores[:, 0] >= self._score)
            cells = chosen // _ANCHORS
            corner = np.column_stack([cells % (width // stride), cells // (width // stride)]).astype(np.float32)
            faces = np.zeros(len(chosen), FACE)
            faces["score"] = scores[chosen, 0]
            faces["place"] = place + chosen
            faces["box"][:, :2] = (corner - boxes[chosen, :2]) * stride
            faces["box"][:, 2:] = (boxes[chosen, :2] + boxes[chosen, 2:]) * stride
            faces["landmarks"] = (corner[:, None] + points[chosen].reshape(-1, 5, 2)) * stride
            found.append(faces)
            place += len(scores)
        every = np.concatenate(found)
        return every if len(every) <= _MOST else every[np.argsort(-every["score"], kind="stable")[:_MOST]]
