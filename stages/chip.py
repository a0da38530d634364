"""Pictures of aligned faces (chips) as the gallery keeps them: small JPEG files."""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from vultus.stages.align import SIDE
from vultus.stages.veil import SQUARES

_QUALITY = 95
_MOST_SIDE = 1024
_BLANK = (224, 224, 224)


def chip_jpeg(chip: npt.NDArray[np.uint8]) -> bytes:
    """A chip, `(112, 112, 3)` uint8 BGR, as a JPEG file of about 8 kB."""
    good, data = cv2.imencode(".jpg", chip, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not good:
        raise ValueError(f"OpenCV wrote no JPEG of a chip {chip.shape} {chip.dtype}")
    return bytes(data)


def chip_pixels(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """The chip `(112, 112, 3)` uint8 BGR of a JPEG file. ValueError if it is none."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if _small(jpeg) else None
    if pixels is None or pixels.shape != (SIDE, SIDE, 3):
        raise ValueError("the picture that was kept is damaged")
    return np.asarray(pixels, np.uint8)


def opened(jpeg: bytes | None) -> Image.Image | None:
    """A chip for showing it, 112x112 RGB; none for what is no small JPEG, whoever put it into the gallery."""
    try:
        with Image.open(io.BytesIO(jpeg or b""), formats=["JPEG"]) as picture:
            if max(picture.size) > _MOST_SIDE:
                return None
            return picture.convert("RGB").resize((SIDE, SIDE))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def veiled(jpeg: bytes) -> bytes:
    """The JPEG file of a chip with coarse squares in place of the face."""
    face = opened(jpeg) or Image.new("RGB", (SIDE, SIDE), _BLANK)
    coarse = face.resize((SQUARES, SQUARES), Image.Resampling.BOX).resize(face.size, Image.Resampling.NEAREST)
    file = io.BytesIO()
    coarse.save(file, "JPEG")
    return file.getvalue()


def _small(jpeg: bytes) -> bool:
    """Whether it is a JPEG file of a chip's size, by its header."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            return picture.size == (SIDE, SIDE)
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
