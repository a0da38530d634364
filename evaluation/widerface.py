"""WIDER FACE's ground truth, from the files that it is published as.

`wider_face_split/wider_face_val.mat` holds events, their pictures and all boxes; `wider_easy_val.mat`, `wider_medium_val.mat`
and `wider_hard_val.mat` of the evaluation tools hold, for each picture, which of its boxes (numbered from 1) count there. The
files are MATLAB's (version 5), read by SciPy (`vultus[widerface]`), which runs nothing that is in them; what they unpack to
is measured before.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.evaluation.errors import BadList

DIFFICULTIES = ("easy", "medium", "hard")
_MOST_BYTES = 64_000_000
"""Packed and unpacked; the published files have 2 MB."""
_COMPRESSED = 15


class Truth(Struct, frozen=True, kw_only=True, eq=False):
    """A picture of the set, and where its faces are."""

    picture: str
    """Below `images`, without ending: `0--Parade/0_Parade_marchingband_1_849`."""
    faces: npt.NDArray[np.float64]
    """`(n, 4)` left, top, width, height."""
    counted: dict[str, npt.NDArray[np.bool_]]
    """For each difficulty `(n,)`: which of them have to be found."""


def read(folder: Path) -> list[Truth]:
    """The ground truth below `folder`, at any depth. Raises FileNotFoundError, BadList, and ImportError without SciPy."""
    boxes = _load(_find(folder, "wider_face_val.mat"))
    levels = {level: _load(_find(folder, f"wider_{level}_val.mat")) for level in DIFFICULTIES}
    try:
        return list(_truths(boxes, levels))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise BadList(f"{folder}: its .mat files are not WIDER FACE's ground truth ({error})") from error


def _find(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if not found:
        where = "the archive wider_face_split" if "face" in name else "the archive eval_tools, folder ground_truth"
        raise FileNotFoundError(f"{folder}: {name} is not there; it comes in {where} of WIDER FACE")
    return found[0]


def _load(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat  # heavy, and for this alone
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise ImportError(
            "WIDER FACE's ground truth needs one more library: pip install 'vultus[widerface]'"
        ) from error
    if path.stat().st_size > _MOST_BYTES:
        raise BadList(f"{path}: too large for a ground truth")
    data = path.read_bytes()
    try:
        _measure(data)
        found: dict[str, Any] = loadmat(io.BytesIO(data), chars_as_strings=True, verify_compressed_data_integrity=True)
    except BadList as error:
        raise BadList(f"{path}: {error}") from None
    except (
        MatReadError,
        ValueError,
        TypeError,
        OSError,
        LookupError,
        NotImplementedError,
        MemoryError,
        zlib.error,
    ) as error:
        raise BadList(f"{path}: not a MATLAB file of version 5, or a damaged one ({error})") from error
    return found


def _measure(data: bytes) -> None:
    """Refuse what would unpack to more than a ground truth has: a header of 128 bytes, then type, length and content."""
    if len(data) < 136 or data[126:128] != b"IM":
        raise BadList("not a MATLAB file of version 5")
    at, unpacked = 128, 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            unpacked += len(unpacker.decompress(data[at + 8 : at + 8 + length], _MOST_BYTES + 1))
        if unpacked > _MOST_BYTES:
            raise BadList("it unpacks to more than a ground truth has")
        at += 8 + length


def _truths(boxes: dict[str, Any], levels: dict[str, dict[str, Any]]) -> list[Truth]:
    found = []
    for number, event in enumerate(boxes["event_list"].ravel()):
        folder = _text(event)
        for at, file in enumerate(boxes["file_list"].ravel()[number].ravel()):
            faces = np.asarray(boxes["face_bbx_list"].ravel()[number].ravel()[at], np.float64).reshape(-1, 4)
            counted = {}
            for level, lists in levels.items():
                chosen = np.zeros(len(faces), bool)
                numbers = np.asarray(lists["gt_list"].ravel()[number].ravel()[at], np.int64).ravel()
                if len(numbers) and numbers.min() < 1:
                    raise ValueError("boxes are numbered from 1")
                chosen[numbers - 1] = True
                counted[level] = chosen
            found.append(Truth(picture=f"{folder}/{_text(file)}", faces=faces, counted=counted))
    return found


def _text(cell: Any) -> str:
    while isinstance(cell, np.ndarray):
        cell = cell.ravel()[0]
    name = str(cell)
    if "/" in name or "\\" in name or "\0" in name or name.startswith("."):
        raise BadList(f"{name!r} is no name of a picture")
    return name
