"""The Ultra-Light detectors (slim-320, RFB-320, RFB-640) on the C engine, for pictures of any size.

Linzaer, "Ultra-Light-Fast-Generic-Face-Detector-1MB" (2019): a single-shot detector whose places are priors (boxes of fixed
sizes at the cells of the strides s = 8, 16, 32, 64). With a prior's centre p and sides q, both in pixels:

    centre = p + 0.1·d·q    size = exp(0.2·e)·q

They find boxes without landmarks, so the pipeline, which aligns faces by their eyes, cannot use them alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.native import Network, decode_ultralight, suppress

Floats = npt.NDArray[np.float32]


class UltraLight:
    """A loaded detector; `detect` may be called from any number of threads."""

    def __init__(self, path: Path, *, threads: int, score: float = 0.7, nms_iou: float = 0.3) -> None:
        """Load the graph that `weights.onnx_heads.cut` made; calls of `detect` compute on at most `threads` processors.

        Raises ValueError if the file is something else; one as published is fixed to one size by its priors.
        """
        self._network = Network(path, threads=threads)
        if self._network.input_size is not None or set(self._network.outputs((64, 64))) != {"scores", "locations"}:
            raise ValueError(
                f"{path}: not an Ultra-Light detector that was cut at its heads (vultus.weights.onnx_heads)"
            )
        self._score = score
        self._nms_iou = nms_iou

    def detect(self, image: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Faces in `image`, `(h, w, 3)` uint8 BGR, at the size it has, highest score first.

        Boxes `(n, 4)` float32, left, top, width, height in pixels, which may reach beyond the picture; scores `(n,)`, 0..1.
        """
        size = (image.shape[0], image.shape[1])
        heads = self._network.run(np.ascontiguousarray(image)[None])
        faces = suppress(decode_ultralight(heads["scores"], heads["locations"], size, self._score), self._nms_iou)
        return np.ascontiguousarray(faces["box"]), np.ascontiguousarray(faces["score"])
