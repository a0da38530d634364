"""Webcams of this machine through Video4Linux; OpenCV reads them, since PyAV's wheels come without devices."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from vultus.pipeline.frames import Image
from vultus.stages.grabber import Ear, Shot, SourceLost


def listen(address: str, ear: Ear) -> Iterator[tuple[float, Shot, bool]]:
    """Frames of `webcam:N`, which is `/dev/videoN`, as they come; the arguments are those of `video.listen`.

    Raises SourceLost.
    """
    device = f"/dev/video{int(address.removeprefix('webcam:'))}"
    if not os.path.exists(device):
        raise SourceLost(f"there is no {device}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceLost(f"{device} may not be opened by this user; members of the group video may")
    with ear.awaiting():
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    try:
        if not capture.isOpened():
            raise SourceLost(f"{device} does not open; perhaps another program uses it")
        ear.decodes("Video4Linux")
        while _grabbed(capture, ear):
            ear.alive()
            there, pixels = capture.retrieve()
            if there:
                yield time.time(), _shot(np.asarray(pixels, np.uint8)), True
            else:
                ear.broken()
        raise SourceLost(f"{device} sends no more pictures")
    finally:
        capture.release()


def _grabbed(capture: cv2.VideoCapture, ear: Ear) -> bool:
    with ear.awaiting():
        return capture.grab()


def _shot(pixels: npt.NDArray[np.uint8]) -> Shot:
    return lambda: Image(pixels)
