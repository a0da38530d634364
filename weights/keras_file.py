"""The layers of a network in a file that Keras saved (.h5); the only file that imports h5py (extra `vultus[keras]`).

Three layouts are read: a whole model (`model.save`: the attribute `model_config` says the layers in JSON), weights by
layer (`save_weights` of Keras 2), and weights by kind of layer (`.weights.h5` of Keras 3). Nothing of Keras is needed, and
nothing in the file is run: no Lambda, no class of the file's own. Sizes are looked at before memory is taken, and no link
or dataset leads to another file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.weights.errors import BackendMissing, ImportFailed

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_BYTES = 2_000_000_000
_MOST_NUMBERS, _MOST_TOGETHER = 2**26, 2**27
_MOST_LAYERS, _MOST_DEPTH = 4096, 8
_MOST_CONFIG = 16_000_000
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)
"""What h5py and JSON raise on files that do not hold what they say."""

Array = npt.NDArray[np.float32]


class KerasFile(Struct, frozen=True, kw_only=True):
    """What a file holds."""

    weights: dict[str, list[Array]]
    """By layer, in the file's order, the arrays in Keras's order (kernel, bias; gamma, beta, mean, variance; ...)."""
    config: dict[str, Any] | None
    """Of a whole model: what Keras says of its layers; none if there are only weights."""


def read(path: Path) -> KerasFile:
    """Raises ImportFailed for what is no Keras file, BackendMissing without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise BackendMissing("files of Keras are read with h5py; `pip install 'vultus[keras]'`") from error
    if path.stat().st_size > _MOST_BYTES:
        raise ImportFailed(f"{path}: larger than any face network")
    try:
        with h5py.File(path, "r") as file:
            whole = file.attrs.get("model_config") is not None
            root = _group(file, "model_weights") if whole else file
            named = _by_kind(root) if "layers" in root and "layer_names" not in root.attrs else _by_layer(root)
            weights = {name: found for name, found in _bounded(named) if found}
            config = _config(file) if whole else None
    except ImportFailed as error:
        raise ImportFailed(f"{path}: {error}") from None
    except _DAMAGE as error:
        raise ImportFailed(f"{path}: not a file of Keras, or a damaged one ({error})") from error
    if not weights:
        raise ImportFailed(f"{path}: an HDF5 file without the weights of a Keras model")
    return KerasFile(weights=weights, config=config)


def natural(name: str) -> tuple[str, int]:
    """What Keras numbers layers by: `conv2d` before `conv2d_1` before `conv2d_10`."""
    found = re.fullmatch(r"(.*?)(?:_(\d{1,9}))?", name)
    return (found[1], int(found[2] or 0)) if found else (name, 0)


def _by_layer(root: h5py.Group) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    """Keras 2 and whole models: the attributes `layer_names` and, of each group, `weight_names` say the order."""
    names = [_decoded(name) for name in root.attrs["layer_names"]]
    if len(names) > _MOST_LAYERS:
        raise ImportFailed(f"{len(names)} layers are more than any face network has")
    for name in names:
        group = _group(root, name)
        yield name, [_dataset(group, _decoded(each)) for each in group.attrs["weight_names"]]


def _by_kind(root: h5py.Group) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    """Keras 3: `layers/KIND_NUMBER/vars/NUMBER`; layers that hold layers have a group for each (SeparableConv2D has none)."""
    layers = _group(root, "layers")
    names = list(layers)
    if len(names) > _MOST_LAYERS:
        raise ImportFailed(f"{len(names)} layers are more than any face network has")
    for name in sorted(names, key=natural):
        variables = _group(_group(layers, name), "vars")
        yield name, [_dataset(variables, each) for each in sorted(variables, key=int)]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    import h5py

    found = _inside(parent, name)
    if not isinstance(found, h5py.Group):
        raise ImportFailed(f"{name} is no group of layers")
    return found


def _dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    import h5py

    found = _inside(parent, name)
    if not isinstance(found, h5py.Dataset):
        raise ImportFailed(f"{name} is no array")
    if found.is_virtual or found.external:
        raise ImportFailed(f"{name} lies in another file, which is not opened")
    return found


def _inside(parent: h5py.Group, name: str) -> Any:
    """What has that path below `parent`, by hard links alone: others may lead anywhere."""
    import h5py

    parts = [part for part in name.split("/") if part]
    if not 0 < len(parts) <= _MOST_DEPTH:
        raise ImportFailed(f"the path {name[:80]!r} is none of Keras's")
    found: Any = parent
    for part in parts:
        if not isinstance(found, h5py.Group) or not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ImportFailed(f"there is no {name[:80]!r} in it")
        found = found[part]
    return found


def _bounded(named: Iterator[tuple[str, list[h5py.Dataset]]]) -> Iterator[tuple[str, list[Array]]]:
    """The numbers, none of which is read before all of a layer are known to be few enough."""
    together = 0
    for name, datasets in named:
        for dataset in datasets:
            together += math.prod(dataset.shape)
            if dataset.dtype.kind != "f" or len(dataset.shape) > 4 or dataset.dtype.itemsize > 8:
                raise ImportFailed(f"{name} holds {dataset.dtype} of {len(dataset.shape)} dimensions, not weights")
            if math.prod(dataset.shape) > _MOST_NUMBERS or together > _MOST_TOGETHER:
                raise ImportFailed(f"{name}: more numbers than any face network has")
        arrays = []
        for dataset in datasets:
            with np.errstate(over="ignore"):
                array = np.ascontiguousarray(dataset[()], np.float32)
            if not np.isfinite(array).all():
                raise ImportFailed(f"{name} holds numbers that are not finite")
            arrays.append(array)
        yield name, arrays


def _config(file: h5py.File) -> dict[str, Any]:
    text = _decoded(file.attrs["model_config"])
    if len(text) > _MOST_CONFIG:
        raise ImportFailed("its description is larger than that of any face network")
    try:
        config = json.loads(text)
    except RecursionError:
        raise ImportFailed("its description is nested deeper than any network") from None
    if not isinstance(config, dict):
        raise ImportFailed("its description is none of a network")
    return config


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
