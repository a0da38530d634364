"""InsightFace's verification sets: `lfw.bin`, `cfp_ff.bin`, `cfp_fp.bin`, `agedb_30.bin` and others of that form.

Such a file is a pickle of two lists: pictures as encoded images, aligned already, two for each pair, and whether each pair
shows one person. Pictures are bytes, strings of Python 2, or NumPy arrays of bytes; the answers are bools, NumPy's or Python's.
Nothing here unpickles (`weights/pickled.py`): no other call in the file has a meaning, and anything else in a list is refused.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.evaluation.errors import BadList
from vultus.weights import ImportFailed, pickled
from vultus.weights.pickled import Name, Nothing

_MOST_BYTES = 1_000_000_000
"""The largest published set, CFP-FP, has 0.1 GB."""
_MOST_PICTURE = 4_000_000
_DTYPES = ("b1", "u1")


class BinSet(Struct, frozen=True, kw_only=True, eq=False):
    """The pictures of a set, and what they show."""

    pictures: tuple[bytes, ...]
    """Encoded, two after each other for each pair; nobody has looked at their content yet."""
    same: npt.NDArray[np.bool_]
    """`(n,)` whether a pair shows one person."""


class _Dtype(Struct, frozen=True):
    name: str


class _Array(Struct):
    """An array whose content comes later."""

    content: bytes | None = None
    dtype: str = ""


def read(path: Path) -> BinSet:
    """The set at `path`. Raises BadList (a ValueError) for what is none, or asks for anything but data."""
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise BadList(f"{path}: {size} bytes are more than any set of pairs")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pickletools, about escapes in a damaged string
            match pickled.run(io.BytesIO(path.read_bytes()), _called, built=_built):
                case (list() | tuple() as pictures, (list() | tuple() | _Array()) as answers):
                    return _checked([_bytes(one) for one in pictures], _answers(answers))
    except (ImportFailed, BadList) as error:
        raise BadList(f"{path}: {error}") from None
    except (*pickled.DAMAGE, MemoryError) as error:
        raise BadList(f"{path}: not a set of pairs, or a damaged one ({error})") from error
    raise BadList(f"{path}: not a set of pairs, which is a list of pictures and a list of answers")


def _called(function: Any, arguments: Any) -> Any:
    """What a call in the file stands for: an array, its type, one number of NumPy, or bytes as Python 3 writes for Python 2."""
    match function, arguments:
        case Name("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"), _:
            return _Array()
        case Name("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer"), (
            content,
            _Dtype(name),
            tuple() as shape,
            _,
        ):
            found = _Array()
            _built(found, (1, shape, _Dtype(name), False, bytes(content)))
            return found
        case Name("numpy", "dtype"), (str() as name, *_):
            return _Dtype(name)
        case Name("numpy.core.multiarray" | "numpy._core.multiarray", "scalar"), (_Dtype(name="b1"), content):
            return _bytes(content) == b"\x01"
        case Name("_codecs", "encode"), (str() as text, "latin1" | "latin-1"):
            return text.encode("latin-1")
    return Nothing()


def _built(thing: Any, state: Any) -> None:
    """An array's state: version, shape, type, order and content."""
    match thing, state:
        case _Array(), (int(), tuple() as shape, _Dtype(name), bool(), content) if name in _DTYPES:
            thing.content, thing.dtype = _bytes(content), name
            if len(thing.content) != math.prod(map(int, shape)):
                raise BadList("an array in it has another size than it says")
        case _Dtype(), _:
            pass
        case _:
            raise BadList("it holds an array that is neither a picture's bytes nor answers")


def _bytes(value: Any) -> bytes:
    match value:
        case bytes():
            return value
        case str():  # Python 2's, which pickletools reads as Latin-1
            return value.encode("latin-1")
        case _Array(content=bytes() as content, dtype="u1"):
            return content
    raise BadList(f"a picture in it is not bytes but {_kind(value)}")


def _answers(values: Any) -> list[bool]:
    if isinstance(values, _Array):
        if values.content is None or values.dtype != "b1":
            raise BadList("its answers are an array of something else than bools")
        return [byte != 0 for byte in values.content]
    for value in values:
        if not (isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))):
            raise BadList(f"an answer in it is neither true nor false but {_kind(value)}")
    return [bool(value) for value in values]


def _kind(value: Any) -> str:
    return (
        "what a function would give" if isinstance(value, Nothing | Name) else type(value).__name__.lstrip("_").lower()
    )


def _checked(pictures: list[bytes], same: list[bool]) -> BinSet:
    if not same or len(pictures) != 2 * len(same):
        raise BadList(f"{len(pictures)} pictures for {len(same)} pairs; there are two for each")
    if max(map(len, pictures)) > _MOST_PICTURE:
        raise BadList(f"a picture of more than {_MOST_PICTURE // 1_000_000} MB is no aligned face")
    return BinSet(pictures=tuple(pictures), same=np.array(same))
