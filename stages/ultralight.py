"""The Ultra-Light detectors (slim and RFB, trained at 320×240 and 640×480) on the C engine, for pictures of any size.

Linzaer, "Ultra-Light-Fast-Generic-Face-Detector-1MB" (2019): a single-shot detector whose places are priors (boxes of fixed
sizes at the cells of the strides s = 8, 16, 32, 64). With a prior's centre p and sides q, both in pixels:

    centre = p + 0.1·d·q    size = exp(0.2·e)·q

They find boxes without landmarks. MTCNN's O-Net finds those, in the picture itself, whatever size it was shown at; a box in
which it sees no face has none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.native import decode_ultralight, suppress
from vultus.pipeline.messages import Face
from vultus.stages.onet import POINTS_FROM, ONet
from vultus.stages.view import View
from vultus.weights import Backend, open_network

Floats = npt.NDArray[np.float32]

SCORE, NMS_IOU = 0.7, 0.3
"""What its makers suggest."""


class UltraLight:
    """A loaded detector; its methods may be called from any number of threads."""

    def __init__(
        self,
        path: Path,
        onet: Path,
        *,
        threads: int,
        score: float | None = None,
        nms_iou: float | None = None,
        backend: Backend = "auto",
    ) -> None:
        """Load the graph that `weights.onnx_heads.cut` made, and O-Net; calls compute on at most `threads` processors.

        Raises ValueError if a file is something else; a detector as published is fixed to one size by its priors.
        """
        self._network = open_network(path, threads=threads, backend=backend)
        if self._network.input_size is not None or set(self._network.outputs((64, 64))) != {"scores", "locations"}:
            raise ValueError(
                f"{path}: not an Ultra-Light detector that was cut at its heads (vultus.weights.onnx_heads)"
            )
        self._onet = ONet(onet, threads=threads, backend=backend)
        self._score = SCORE if score is None else score
        self._nms_iou = NMS_IOU if nms_iou is None else nms_iou

    def find(self, view: View) -> list[Face]:
        """Faces of what is shown, in pixels of `view.image`, highest score first."""
        boxes, scores = self.detect(view.pixels)
        corners = view.source(np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float64))
        found = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1)
        refined = self._onet.look(view.image, found)
        points = np.where(refined.scores[:, None, None] < POINTS_FROM, refined.points[:, 2:3], refined.points)
        return [_face(*each) for each in zip(found.tolist(), points.tolist(), scores.tolist(), strict=True)]

    def detect(self, image: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boxes in `image`, `(h, w, 3)` uint8 BGR, at the size it has, highest score first.

        Boxes `(n, 4)` float32, left, top, width, height in pixels, which may reach beyond the picture; scores `(n,)`, 0..1.
        """
        size = (image.shape[0], image.shape[1])
        heads = self._network.run(np.ascontiguousarray(image)[None])
        faces = suppress(decode_ultralight(heads["scores"], heads["locations"], size, self._score), self._nms_iou)
        return np.ascontiguousarray(faces["box"]), np.ascontiguousarray(faces["score"])


def _face(box: list[float], points: list[list[float]], score: float) -> Face:
    x, y, w, h = box
    a, b, c, d, e = ((px, py) for px, py in points)
    return Face(box=(x, y, w, h), landmarks=(a, b, c, d, e), score=score)
