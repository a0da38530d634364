"""The YuNet detector: network on the C engine, decoding of its heads, non-maximum suppression.

W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20 (2023). At each
cell (column c, row r) of the strides s = 8, 16, 32 the network gives two scores, a box and five landmarks:

    score = √(clip(cls) · clip(obj))         centre = ((c + dx)·s, (r + dy)·s)
    landmark k = ((c + kx)·s, (r + ky)·s)    size   = (exp(dw)·s, exp(dh)·s)
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vultus.pipeline.messages import Face
from vultus.weights import Backend, open_network

_STRIDES = (8, 16, 32)
_HEADS = ("cls", "obj", "bbox", "kps")
_MOST = 5000
"""Candidates that go into non-maximum suppression at most; OpenCV's FaceDetectorYN has the same bound."""

Floats = npt.NDArray[np.float32]


class YuNet:
    """A loaded detector; `detect` may be called from any number of threads."""

    def __init__(self, path: Path, *, threads: int, score: float, nms_iou: float, backend: Backend = "auto") -> None:
        """Load the model at `path`; calls of `detect` compute on at most `threads` processors (0: all), each on one.

        Raises ValueError if the file is no YuNet, or is a graph that `backend` does not compute.
        """
        self._network = open_network(path, threads=threads, backend=backend)
        missing = {f"{head}_{stride}" for stride in _STRIDES for head in _HEADS} - set(
            self._network.outputs(self._network.input_size or (32, 32))
        )
        if missing:
            raise ValueError(f"{path}: not a YuNet detector, it has no output {min(missing)}")
        self._score = score
        self._nms_iou = nms_iou

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in `image`, `(h, w, 3)` uint8 BGR, highest score first, in its pixels; at the size it has."""
        height, width = image.shape[:2]
        rows, columns = -(-height // 32) * 32, -(-width // 32) * 32
        padded = cv2.copyMakeBorder(image, 0, rows - height, 0, columns - width, cv2.BORDER_CONSTANT)
        outputs = self._network.run(np.asarray(padded, np.uint8)[None])
        found = [_decode(outputs, stride, columns // stride, self._score) for stride in _STRIDES]
        scores, boxes, points = (np.concatenate(part) for part in zip(*found, strict=True))
        keep = suppress(boxes, scores, self._nms_iou)
        return [_face(scores[index], boxes[index], points[index]) for index in keep]


def _decode(outputs: dict[str, Floats], stride: int, columns: int, threshold: float) -> tuple[Floats, Floats, Floats]:
    """Candidates of one stride at or above `threshold`: scores `(n,)`, boxes `(n, 4)` as x, y, w, h, points `(n, 5, 2)`."""
    cls, obj = outputs[f"cls_{stride}"].reshape(-1), outputs[f"obj_{stride}"].reshape(-1)
    scores = np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1))
    chosen = np.flatnonzero(scores >= threshold)
    grid = np.stack([chosen % columns, chosen // columns], axis=1).astype(np.float32)
    raw = outputs[f"bbox_{stride}"].reshape(-1, 4)[chosen]
    centre, extent = (grid + raw[:, :2]) * stride, np.exp(raw[:, 2:]) * stride
    points = (outputs[f"kps_{stride}"].reshape(-1, 5, 2)[chosen] + grid[:, None]) * stride
    return scores[chosen], np.hstack([centre - extent / 2, extent]), points


def suppress(boxes: Floats, scores: Floats, most_iou: float) -> list[int]:
    """Greedy non-maximum suppression; indices of `boxes` `(n, 4)` (x, y, w, h) that stay, highest score first."""
    order = np.argsort(-scores, kind="stable")[:_MOST]
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    area = boxes[:, 2] * boxes[:, 3]
    keep = []
    while len(order):
        best, rest = order[0], order[1:]
        keep.append(int(best))
        overlap = np.clip(np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest]), 0, None).prod(axis=1)
        order = rest[overlap <= most_iou * (area[best] + area[rest] - overlap)]
    return keep


def _face(score: np.float32, box: Floats, points: Floats) -> Face:
    x, y, w, h = (float(value) for value in box)
    right_eye, left_eye, nose, right_mouth, left_mouth = ((float(px), float(py)) for px, py in points)
    return Face(
        box=(x, y, w, h), landmarks=(right_eye, left_eye, nose, right_mouth, left_mouth), score=min(float(score), 1.0)
    )
