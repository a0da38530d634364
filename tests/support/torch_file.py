"""Writes what `torch.save` writes, without PyTorch: both layouts, for tests of the reader."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

KINDS = {"f": "FloatStorage", "d": "DoubleStorage", "e": "HalfStorage", "l": "LongStorage", "q": "LongStorage"}


class _Global:
    """Pickled as the name of a function or class that need not exist here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Call:
    def __init__(self, function: _Global, arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments


class _Pickler(pickle._Pickler):  # the one in Python, whose methods can be replaced
    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _global(self, thing: _Global) -> None:
        self.write(b"c" + f"{thing.module}\n{thing.name}\n".encode())

    def _call(self, call: _Call) -> None:
        self.save(call.function)
        self.save(call.arguments)
        self.write(b"R")

    def persistent_id(self, thing: Any) -> Any:
        return thing.identity if isinstance(thing, _StorageOf) else None


_Pickler.dispatch[_Global] = _Pickler._global
_Pickler.dispatch[_Call] = _Pickler._call


class _StorageOf:
    def __init__(self, key: str, array: np.ndarray, legacy: bool) -> None:
        self.identity: tuple[Any, ...] = ("storage", _Global("torch", KINDS[array.dtype.char]), key, "cpu", array.size)
        if legacy:
            self.identity += (None,)


def _pickled(thing: Any) -> bytes:
    out = io.BytesIO()
    _Pickler(out, 2).dump(thing)
    return out.getvalue()


def save(
    path: Path,
    weights: Mapping[str, np.ndarray],
    *,
    legacy: bool = False,
    around: Callable[[Any], Any] = lambda state: state,
    evil: tuple[str, str, tuple[Any, ...]] | None = None,
) -> None:
    """A state dict, `around` it what a trainer wraps it in; `evil` is a function that opening the file shall call."""
    state: dict[str, Any] = OrderedDict()
    weights = {name: array.copy(order="C") for name, array in weights.items()}
    for key, (name, array) in enumerate(weights.items()):
        strides = tuple(step // array.itemsize for step in array.strides)
        storage = _StorageOf(str(key), array, legacy)
        arguments = (storage, 0, array.shape, strides, False, OrderedDict())
        state[name] = _Call(_Global("torch._utils", "_rebuild_tensor_v2"), arguments)
    if evil is not None:
        state["evil"] = _Call(_Global(evil[0], evil[1]), evil[2])
    root = _pickled(around(state))
    if legacy:
        keys = [str(key) for key in range(len(weights))]
        parts = [
            _pickled(0x1950A86A20F9469CFC6C),
            _pickled(1001),
            _pickled({"little_endian": True}),
            root,
            _pickled(keys),
        ]
        parts += [struct.pack("<q", array.size) + array.tobytes() for array in weights.values()]
        path.write_bytes(b"".join(parts))
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", root)
        archive.writestr("model/byteorder", "little")
        for key, array in enumerate(weights.values()):
            archive.writestr(f"model/data/{key}", array.tobytes())
        archive.writestr("model/version", "3\n")
