"""The YuNet detector: network, decoding of its heads and non-maximum suppression by the C engine.

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

from vultus.native import decode_yunet, suppress
from vultus.pipeline.messages import Face
from vultus.stages.view import View
from vultus.weights import Backend, open_network

SCORE, NMS_IOU = 0.7, 0.3
"""What its makers suggest."""
_HEADS = frozenset(f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))


class YuNet:
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
        """Load the model at `path`; calls compute on at most `threads` processors (0: all), each on one.

        Raises ValueError if the file is no YuNet, or is a graph that `backend` does not compute.
        """
        self._network = open_network(path, threads=threads, backend=backend)
        missing = _HEADS - set(self._network.outputs(self._network.input_size or (32, 32)))
        if missing:
            raise ValueError(f"{path}: not a YuNet detector, it has no output {min(missing)}")
        self._score = SCORE if score is None else score
        self._nms_iou = NMS_IOU if nms_iou is None else nms_iou

    def find(self, view: View) -> list[Face]:
        """Faces of what is shown, in pixels of `view.image`, highest score first."""
        return [view.face(face.box, face.landmarks, face.score) for face in self.detect(view.pixels)]

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in `image`, `(h, w, 3)` uint8 BGR, highest score first, in its pixels; at the size it has."""
        height, width = image.shape[:2]
        rows, columns = -(-height // 32) * 32, -(-width // 32) * 32
        padded = cv2.copyMakeBorder(image, 0, rows - height, 0, columns - width, cv2.BORDER_CONSTANT)
        heads = self._network.run(np.asarray(padded, np.uint8)[None])
        return [_face(face) for face in suppress(decode_yunet(heads, (rows, columns), self._score), self._nms_iou)]


def _face(face: np.void) -> Face:
    x, y, w, h = face["box"].tolist()
    right_eye, left_eye, nose, right_mouth, left_mouth = (tuple(point) for point in face["landmarks"].tolist())
    return Face(
        box=(x, y, w, h), landmarks=(right_eye, left_eye, nose, right_mouth, left_mouth), score=float(face["score"])
    )
