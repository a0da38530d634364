"""Reads the weights in a PyTorch checkpoint without PyTorch, and without running anything that is in it.

A checkpoint is a pickle, which is a program, so nothing here unpickles: `weights/pickled.py` reads it, and of the classes and
functions that a file names only those have a meaning that stand for tensors over storages.

Two layouts are in use (torch/serialization.py): since PyTorch 1.6 a zip archive with `data.pkl` and a member for each
storage, stored as they are; before, a row of pickles and then the storages.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.weights import pickled
from vultus.weights.errors import ImportFailed
from vultus.weights.pickled import Name, Nothing

Array = npt.NDArray[Any]

MOST_BYTES = 2_000_000_000
"""A larger file is refused before it is read; an iResNet-200 has half of that."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _Storage(Struct, frozen=True):
    key: str
    dtype: str
    count: int


class _Tensor(Struct, frozen=True):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def is_checkpoint(begin: bytes) -> bool:
    """Whether a file that begins so is a zip archive or a pickle."""
    return begin[:2] == b"PK" or begin[:1] == b"\x80"


def read(path: Path) -> dict[str, Array]:
    """The weights of a checkpoint by name, in the file's order: those of the largest dict of tensors that is in it.

    Numbers are float32 whatever the file keeps them as, counters int64. Raises ImportFailed for what is no checkpoint, or
    has no weights, or holds numbers that are not finite.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ImportFailed(f"{path}: {size} bytes are more than any checkpoint of a face network")
    return parse(path.read_bytes(), path)


def parse(data: bytes, path: Path | str) -> dict[str, Array]:
    """The same of a file's bytes; `path` is how errors call it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pickletools, about escapes in a damaged string
            root, storages = _zipped(data) if data[:2] == b"PK" else _in_a_row(data)
        tensors = max(_dicts_of_tensors(root), key=len, default={})
        named = {name: _array(tensor, storages) for name, tensor in tensors.items()}
    except ImportFailed as error:
        raise ImportFailed(f"{path}: {error}") from None
    except (*pickled.DAMAGE, zipfile.BadZipFile) as error:
        raise ImportFailed(f"{path}: not a PyTorch checkpoint, or a damaged one ({error})") from error
    if not named:
        raise ImportFailed(f"{path}: a PyTorch file without weights; save a state dict (`model.state_dict()`)")
    return {name: _checked(path, name, array) for name, array in named.items()}


def _zipped(data: bytes) -> tuple[Any, Callable[[_Storage], bytes]]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = {member.filename: member for member in archive.infolist()}
    (program,) = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    folder = program.removesuffix("data.pkl")

    def member(name: str, most: int) -> bytes:
        found = members[name]
        if found.compress_type != zipfile.ZIP_STORED or found.file_size > most:
            raise ImportFailed(f"its member {name} is compressed, or larger than what it is for")
        return archive.read(found)

    if members.get(f"{folder}byteorder") and member(f"{folder}byteorder", 16) != b"little":
        raise ImportFailed("its numbers are big-endian")
    root = _run(io.BytesIO(member(program, MOST_BYTES)))
    return root, lambda storage: member(f"{folder}data/{storage.key}", storage.count * np.dtype(storage.dtype).itemsize)


def _in_a_row(data: bytes) -> tuple[Any, Callable[[_Storage], bytes]]:
    file = io.BytesIO(data)
    if _run(file) != _LEGACY_MAGIC:
        raise ImportFailed("not a PyTorch checkpoint")
    _run(file)  # version of the protocol, 1001
    if not _run(file).get("little_endian"):
        raise ImportFailed("its numbers are big-endian")
    root = _run(file)
    places: dict[str, tuple[int, int]] = {}
    sizes = {storage.key: np.dtype(storage.dtype).itemsize for storage in _storages(root)}
    for key in _run(file):
        (count,) = struct.unpack("<q", file.read(8))
        places[key] = file.tell(), count
        file.seek(count * sizes[key], io.SEEK_CUR)
        if count < 0 or file.tell() > len(data):
            raise ImportFailed(f"it ends within the storage {key}")

    def storage_bytes(storage: _Storage) -> bytes:
        at, count = places[storage.key]
        return data[at : at + count * np.dtype(storage.dtype).itemsize]

    return root, storage_bytes


def _run(file: io.BytesIO) -> Any:
    """What the next pickle of `file` stands for."""
    return pickled.run(file, _called, _stored)


def _called(function: Any, arguments: Any) -> Any:
    """What a call in the file gives: an empty dict, a tensor, or nothing."""
    match function, arguments:
        case Name("collections", "OrderedDict"), _:
            return {}
        case Name("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), (
            _Storage() as storage,
            offset,
            shape,
            stride,
            *_,
        ):
            return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))
        case Name("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), (_Tensor() as tensor, *_):
            return tensor
    return Nothing()


def _stored(identity: Any) -> _Storage:
    """The storage that a persistent id names: ("storage", type, key, device, count, ...)."""
    match identity:
        case ("storage", Name("torch", kind), key, _, int(count), *_) if kind in _DTYPES and 0 <= count <= MOST_BYTES:
            return _Storage(str(key), _DTYPES[kind], count)
        case ("storage", Name(_, kind), *_):
            raise ImportFailed(f"it has numbers of the type {kind}; convert the weights to float32")
    raise ImportFailed("its pickle refers to something outside the file")


def _walk(root: Any) -> Iterator[Any]:
    """Every value in dicts, lists and tuples, each container once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            if id(value) in seen:
                continue
            seen.add(id(value))
            waiting += reversed(list(value.values()) if isinstance(value, dict) else list(value))
        yield value


def _storages(root: Any) -> Iterator[_Storage]:
    return (value.storage for value in _walk(root) if isinstance(value, _Tensor))


def _dicts_of_tensors(root: Any) -> Iterator[dict[str, _Tensor]]:
    for value in _walk(root):
        if isinstance(value, Mapping):
            yield {str(name): tensor for name, tensor in value.items() if isinstance(tensor, _Tensor)}


def _array(tensor: _Tensor, storage_bytes: Callable[[_Storage], bytes]) -> Array:
    """The tensor's numbers. A view must stay within its storage."""
    flat = np.frombuffer(storage_bytes(tensor.storage), tensor.storage.dtype)
    if len(tensor.shape) != len(tensor.stride) or min((0, tensor.offset, *tensor.shape, *tensor.stride)) < 0:
        raise ImportFailed("a tensor has an impossible shape")
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    if (math.prod(tensor.shape) and last >= len(flat)) or math.prod(tensor.shape) > len(flat):
        raise ImportFailed("a tensor is larger than its storage")
    strides = [step * flat.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)


def _checked(path: Path | str, name: str, array: Array) -> Array:
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(single).all():
        raise ImportFailed(f"{path}: {name} holds numbers that are not finite")
    return single
