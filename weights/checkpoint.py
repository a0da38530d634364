"""Reads the weights in a PyTorch checkpoint without PyTorch, and without running anything that is in it.

A checkpoint is a pickle, which is a program, so nothing here unpickles. The program is read instruction by instruction,
and only what a state dict is made of has a meaning: dicts, lists, numbers, strings, and tensors over storages. Every
other class or function that a file names is a thing without a value; called or not, it does nothing.

Two layouts are in use (torch/serialization.py): since PyTorch 1.6 a zip archive with `data.pkl` and a member for each
storage, stored as they are; before, a row of pickles and then the storages.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.weights.errors import ImportFailed

Array = npt.NDArray[Any]

MOST_BYTES = 2_000_000_000
"""A larger file is refused before it is read; an iResNet-200 has half of that."""
_MOST_STEPS = 5_000_000
"""Instructions of a pickle. A ResNet-100's state dict takes some twenty thousand."""
_DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError, struct.error)
"""What a file can provoke in `zipfile`, `pickletools` and below that does not hold what it says."""
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


class _Name(Struct, frozen=True):
    """A class or function that the file names; never looked up, never called."""

    module: str
    name: str


class _Storage(Struct, frozen=True):
    key: str
    dtype: str
    count: int


class _Tensor(Struct, frozen=True):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Nothing(Struct, frozen=True):
    """What a call of anything that is not known gives."""


def read(path: Path) -> dict[str, Array]:
    """The weights of a checkpoint by name, in the file's order: those of the largest dict of tensors that is in it.

    Numbers are float32 whatever the file keeps them as, counters int64. Raises ImportFailed for what is no checkpoint, or
    has no weights, or holds numbers that are not finite.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ImportFailed(f"{path}: {size} bytes are more than any checkpoint of a face network")
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pickletools, about escapes in a damaged string
            root, storages = _zipped(data) if data[:2] == b"PK" else _in_a_row(data)
        tensors = max(_dicts_of_tensors(root), key=len, default={})
        named = {name: _array(tensor, storages) for name, tensor in tensors.items()}
    except ImportFailed as error:
        raise ImportFailed(f"{path}: {error}") from None
    except (*_DAMAGE, zipfile.BadZipFile) as error:
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
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = marks.pop()
        items = stack[at:]
        del stack[at:]
        return items

    argument: Any
    for steps, (code, argument, _) in enumerate(pickletools.genops(file)):
        if steps > _MOST_STEPS:
            raise ImportFailed("its pickle is longer than that of any state dict")
        match code.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "POP":
                stack.pop()
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[int(argument)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[int(argument)])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[code.name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append(
                    {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}[code.name]()
                )
            case "TUPLE" | "LIST":
                stack.append((tuple if code.name == "TUPLE" else list)(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                n = int(code.name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            case "APPEND":
                item = stack.pop()
                _into(stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                items = since_mark()
                _into(stack[-1], items)
            case "SETITEM":
                key, value = stack[-2:]
                del stack[-2:]
                _into(stack[-1], [key, value])
            case "SETITEMS":
                items = since_mark()
                _into(stack[-1], items)
            case "GLOBAL":
                stack.append(_Name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                module, name = stack[-2:]
                stack[-2:] = [_Name(str(module), str(name))]
            case "REDUCE" | "NEWOBJ":
                function, arguments = stack[-2:]
                stack[-2:] = [_called(function, arguments)]
            case "BUILD":  # the state of an object, for instance the versions that a state dict notes of its modules
                stack.pop()
            case "BINPERSID":
                stack.append(_stored(stack.pop()))
            case _ if argument is not None:  # numbers, strings and bytes
                stack.append(argument)
            case _:
                raise ImportFailed(f"its pickle has the instruction {code.name}, which no state dict needs")
    raise ImportFailed("its pickle has no end")


def _into(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if isinstance(key, str | int) else repr(type(key))] = value
    elif not isinstance(target, _Nothing):
        raise ImportFailed(f"its pickle puts items into a {type(target).__name__}")


def _called(function: Any, arguments: Any) -> Any:
    """What a call in the file gives: an empty dict, a tensor, or nothing."""
    match function, arguments:
        case _Name("collections", "OrderedDict"), _:
            return {}
        case _Name("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), (
            _Storage() as storage,
            offset,
            shape,
            stride,
            *_,
        ):
            return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))
        case _Name("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), (_Tensor() as tensor, *_):
            return tensor
    return _Nothing()


def _stored(identity: Any) -> _Storage:
    """The storage that a persistent id names: ("storage", type, key, device, count, ...)."""
    match identity:
        case ("storage", _Name("torch", kind), key, _, int(count), *_) if kind in _DTYPES and 0 <= count <= MOST_BYTES:
            return _Storage(str(key), _DTYPES[kind], count)
        case ("storage", _Name(_, kind), *_):
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


def _checked(path: Path, name: str, array: Array) -> Array:
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(single).all():
        raise ImportFailed(f"{path}: {name} holds numbers that are not finite")
    return single
