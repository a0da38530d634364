"""Photographs: from the bytes of a file to pixels, within bounds.

The format is what the content says, not what the name says. Orientation (EXIF) is honoured. Colour profiles (ICC) are
not applied: detectors and embedders were trained on pictures read the same way. Of several pictures in a file (GIF,
animated WebP or PNG, multi-page TIFF) the first is taken. Transparent parts are put on white. 16 bits a channel are
scaled to 8, never cut.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import warnings

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from vultus.configs.schema import Decode
from vultus.pipeline.errors import RefusedInput

try:
    import pillow_heif
except ImportError:
    HEIC = False
else:
    pillow_heif.register_heif_opener()
    HEIC = True

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", *(("HEIF",) if HEIC else ()))
"""Pillow's names of what is read; everything else it knows is refused, since nobody needs it and it is attack surface."""

_ORIENTATION = 0x0112
# EXIF orientation → what brings the picture upright; columns of TIFF 6.0's table for tag 274.
_TURNS = {
    3: (cv2.ROTATE_180, False),
    4: (cv2.ROTATE_180, True),
    5: (cv2.ROTATE_90_CLOCKWISE, True),
    6: (cv2.ROTATE_90_CLOCKWISE, False),
    7: (cv2.ROTATE_90_COUNTERCLOCKWISE, True),
    8: (cv2.ROTATE_90_COUNTERCLOCKWISE, False),
}
_AT_ONCE = 1 << 20
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

Pixels = npt.NDArray[np.uint8]


class File(Struct, frozen=True, kw_only=True):
    """The content of a regular file and what identifies it."""

    data: bytes
    digest: bytes
    """BLAKE2b-128 of `data`."""
    mtime_ns: int


def read(path: str, limits: Decode) -> File:
    """The whole of a file of at most `max_file_bytes`. Raises RefusedInput in words for everything else."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise RefusedInput("not a regular file")
            if info.st_size > limits.max_file_bytes:
                raise RefusedInput(
                    f"{info.st_size} bytes are more than decode.max_file_bytes ({limits.max_file_bytes}) allows"
                )
            # Not up to the limit: Python takes the memory for what it is asked to read before it reads.
            data = file.read(info.st_size + 1)
    except OSError as error:
        raise RefusedInput(f"cannot be read: {error.strerror or error}") from error
    if not data:
        raise RefusedInput("the file is empty")
    if len(data) != info.st_size:
        raise RefusedInput("changed while it was read; is it still being written?")
    return File(data=data, digest=hashlib.blake2b(data, digest_size=16).digest(), mtime_ns=info.st_mtime_ns)


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe that nobody writes to would otherwise last for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def decode(data: bytes, limits: Decode) -> Pixels:
    """The upright picture, `(h, w, 3)` uint8 BGR, C-contiguous.

    Raises RefusedInput in words: unknown or damaged format, too many pixels. Dimensions are checked before any pixel
    is decoded.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of many pixels; the first harms nobody, the second is checked here.
            warnings.simplefilter("ignore")
            with Pillow.open(io.BytesIO(data), formats=FORMATS) as picture:
                _check_size(picture.size, limits)
                pixels = _fast_jpeg(data, picture)
                if pixels is None:
                    pixels = _pixels(picture)
                # Asked for afterwards: of TIFF, Pillow turns the picture itself while it loads it, and says so here.
                orientation = _orientation(picture)
    except RefusedInput:
        raise
    except UnidentifiedImageError as error:
        raise RefusedInput(_unknown(data)) from error
    except Pillow.DecompressionBombError as error:
        raise RefusedInput(f"more pixels than decode.max_pixels ({limits.max_pixels}) or Pillow allow") from error
    except MemoryError as error:
        raise RefusedInput("no memory for this picture; a lower decode.max_pixels refuses it earlier") from error
    except Exception as error:  # the parsers raise struct.error, zlib.error, KeyError and others on damaged files
        raise RefusedInput(f"damaged picture: {error}") from error
    return upright(pixels, orientation)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (1..8; others count as 1)."""
    turn = _TURNS.get(orientation)
    if turn is not None:
        pixels = np.asarray(cv2.rotate(pixels, turn[0]), np.uint8)
    if orientation == 2 or (turn is not None and turn[1]):
        pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
    return np.ascontiguousarray(pixels)


def _check_size(size: tuple[int, int], limits: Decode) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise RefusedInput("the picture has no pixels")
    if width * height > limits.max_pixels:
        raise RefusedInput(f"{width}×{height} pixels are more than decode.max_pixels ({limits.max_pixels}) allows")


def _orientation(picture: Pillow.Image) -> int:
    if picture.format == "HEIF":
        return 1  # libheif turns the picture itself, and its EXIF may still say otherwise
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError, struct.error):
        return 1  # damaged metadata says nothing about the pixels
    return value if isinstance(value, int) else 1


def _fast_jpeg(data: bytes, picture: Pillow.Image) -> Pixels | None:
    """OpenCV's reading of an ordinary whole JPEG: the same library and pixels as Pillow's in half the time.

    OpenCV does not say whether a file was cut, so files without an end marker are left to Pillow.
    """
    if picture.format not in ("JPEG", "MPO") or picture.mode not in ("RGB", "L") or not _ends(data):
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape[1::-1] != picture.size:
        return None
    return np.asarray(pixels, np.uint8)


def _ends(data: bytes) -> bool:
    """Whether a JPEG's first picture has its end marker (ITU T.81, B.1.1): segments are skipped up to the first scan,
    in which FF D9 cannot occur by chance."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return data.find(b"\xff\xd9", at) >= 0
        if marker == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _pixels(picture: Pillow.Image) -> Pixels:
    picture.seek(0)
    picture.load()
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _from_deep_grey(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        paper = Pillow.new("RGB", picture.size, (255, 255, 255))
        paper.paste(picture, mask=picture)
        picture = paper
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return np.asarray(cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR), np.uint8)


def _from_deep_grey(picture: Pillow.Image) -> Pixels:
    """Grey with more than 8 bits. Integers are taken as 16 bits; floats, which have no agreed white, by their range."""
    values = np.asarray(picture)
    low, scale = 0.0, 1 / 257
    if picture.mode == "F":
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        scale = 255.0 / (high - low) if high > low else 0.0
    flat = values.reshape(-1)
    grey = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _AT_ONCE):  # double precision for all of a large picture would take gigabytes
        part = slice(start, start + _AT_ONCE)
        grey[part] = np.clip(np.rint((flat[part].astype(np.float64) - low) * scale), 0, 255)
    return np.asarray(cv2.cvtColor(grey.reshape(values.shape), cv2.COLOR_GRAY2BGR), np.uint8)


def _unknown(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and not HEIC:
        return "HEIC needs one more library: pip install 'vultus[heic]'"
    if not any(byte < 9 or 13 < byte < 32 for byte in data[:512]):
        return "not a picture but text, whatever its name says"
    return "no picture format that is known here (JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC), or its beginning is damaged"
