"""ONNX Runtime behind the engine's interface, for graphs that the engine does not compute; the only file that imports it.

It is the extra `vultus[onnx]`. Files are checked by `weights/onnx_check.py` before they are shown to it.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from vultus.native import ModelFormatError
from vultus.weights import onnx_check
from vultus.weights.errors import BackendMissing
from vultus.weights.onnx_contrib import DOMAIN

if TYPE_CHECKING:
    from vultus.native._engine import Normalisation

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_TOGETHER = 32
"""Images that are computed at a time at most; fewer where their values are so large that memory would be."""
_SIZES = 4
"""Sizes of pictures whose check is remembered."""


def installed() -> str | None:
    """The version of ONNX Runtime, none if it is not there."""
    try:
        return version("onnxruntime")
    except PackageNotFoundError:
        return None


class OnnxModel:
    """A checked graph in a session of ONNX Runtime: float32 planes in, named float32 arrays out.

    Made with: the bytes of the file, a name for messages, and processors to use at most (0: all that this process may
    run on). Raises BackendMissing, and ModelFormatError for what the checks or ONNX Runtime refuse.
    """

    def __init__(self, data: bytes, name: str, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendMissing("ONNX Runtime is not installed; `pip install 'vultus[onnx]'`") from error
        self._name = name
        self._graph = onnx_check.parse(data, name)
        if DOMAIN.encode() in data:  # rewritten
            data = self._graph.SerializeToString()
        entry = onnx_check.only_input(self._graph, name)
        sides = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        self.batch = sides[0]
        """Images of one run; 0: any number."""
        self.input_size = (sides[2], sides[3]) if sides[2] and sides[3] else None
        if self.input_size is None and (sides[2] or sides[3]):
            raise ModelFormatError(f"{name}: one of height and width is given and the other open")
        self.normalisation = _normalisation(self._graph, name)
        self._together: OrderedDict[tuple[int, int], int] = OrderedDict()
        if self.input_size is not None:
            self._images_at_a_time(self.input_size)
        options = onnxruntime.SessionOptions()
        self.threads = threads or len(os.sched_getaffinity(0))
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes are private, and have no common base but this one
            raise ModelFormatError(f"{name}: ONNX Runtime refuses it: {' '.join(str(error).split())[:300]}") from error
        self._input = entry.name
        self._outputs = [output.name for output in self._session.get_outputs()]
        other = [output for output in self._session.get_outputs() if output.type != "tensor(float)"]
        if other:
            raise ModelFormatError(f"{name}: the output {other[0].name!r} is {other[0].type}, not tensor(float)")
        self._process = os.getpid()

    def run(self, x: Floats) -> dict[str, Floats]:
        """Outputs by name, each `(n, ...)`, of images `(n, 3, height, width)`."""
        if os.getpid() != self._process:
            raise RuntimeError("the model was opened before a fork, by the parent; open another one")
        size = (x.shape[2], x.shape[3])
        if self.input_size is not None and size != self.input_size:
            raise ValueError(f"the input is {self.input_size[0]} x {self.input_size[1]} pixels and cannot be {size}")
        together = self._images_at_a_time(size)
        if len(x) % together and self.batch > 1:
            raise ValueError(f"{self._name}: takes {self.batch} images at a time, not {len(x)}")
        parts = [self._run(x[first : first + together]) for first in range(0, len(x), together)]
        return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(self._outputs)}

    def _run(self, x: Floats) -> list[Floats]:
        answers: list[Floats] = self._session.run(self._outputs, {self._input: x})
        for name, answer in zip(self._outputs, answers, strict=True):
            if answer.shape[:1] != (len(x),):
                raise ValueError(
                    f"{self._name}: the output {name!r} {answer.shape} has no row for each of {len(x)} images"
                )
        return answers

    def _images_at_a_time(self, size: tuple[int, int]) -> int:
        """How many of that size are computed together; the graph is checked for a size that is new."""
        if size not in self._together:
            numbers = onnx_check.bound(self._graph, (self.batch or 1, 3, *size), self._name)
            room = max(1, onnx_check.MOST_NUMBERS_TOGETHER // max(1, numbers))
            self._together[size] = self.batch or min(_TOGETHER, room)
            if len(self._together) > _SIZES:
                self._together.popitem(last=False)
        return self._together[size]


class OnnxEmbedder:
    """A face embedding network on ONNX Runtime; the same interface as `vultus.native.Engine`, which says what it means."""

    format: Literal["ONNX"] = "ONNX"

    def __init__(self, path: str | os.PathLike[str], threads: int = 0) -> None:
        self._path = Path(path)
        self._model = OnnxModel(onnx_check.read(self._path), str(path), threads)
        if self._model.input_size is None:
            raise ModelFormatError(f"{path}: an embedder has a fixed height and width")
        self.input_size: tuple[int, int] = self._model.input_size
        self.threads = self._model.threads
        self.normalisation = self._model.normalisation
        answer = self._model.run(np.zeros((self._model.batch or 1, 3, *self.input_size), np.float32))
        if len(answer) != 1:
            raise ModelFormatError(f"{path}: {len(answer)} outputs; an embedder has one")
        ((self._output, vectors),) = answer.items()
        if vectors.size != vectors.shape[0] * max(vectors.shape[1:], default=1):
            raise ModelFormatError(f"{path}: the output of an image is {vectors.shape[1:]}, not a vector")
        self.dim: int = vectors.size // vectors.shape[0]

    def __repr__(self) -> str:
        return f"<OnnxEmbedder {str(self._path)!r}: {self.input_size} -> {self.dim}, {self.threads} threads>"

    def embed(self, x: Floats, *, normalize: bool = True) -> Floats:
        """`(n, 3, height, width)` float32, normalised already → `(n, dim)` float32, of length 1 if `normalize`."""
        _expect("x", x, np.float32, (3, *self.input_size))
        if not len(x):
            return np.empty((0, self.dim), np.float32)
        vectors = self._model.run(x)[self._output].reshape(len(x), self.dim)
        if not normalize:
            return vectors
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)

    def embed_chips(self, chips: Pixels, *, normalize: bool = True) -> Floats:
        """`(n, height, width, 3)` uint8, BGR → the same as `embed`."""
        _expect("chips", chips, np.uint8, (*self.input_size, 3))
        return self.embed(_planes(chips, self.normalisation), normalize=normalize)


class OnnxNetwork:
    """Any other network on ONNX Runtime; the same interface as `vultus.native.Network`, which says what it means."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 0) -> None:
        self._path = Path(path)
        self._model = OnnxModel(onnx_check.read(self._path), str(path), threads)
        self.input_size = self._model.input_size
        self.threads = self._model.threads
        self.normalisation = self._model.normalisation

    def __repr__(self) -> str:
        return f"<OnnxNetwork {str(self._path)!r}: {self.input_size or 'any size'}, {self.threads} threads>"

    def outputs(self, size: tuple[int, int] | None = None) -> dict[str, tuple[int, ...]]:
        """Shape of each output for one image of `size` (height, width), None: its own; in the file's order."""
        own = size or self.input_size
        if own is None:
            raise ValueError("the network has no size of its own; say which: (height, width)")
        answers = self._model.run(np.zeros((self._model.batch or 1, 3, *own), np.float32))
        return {name: answer.shape[1:] for name, answer in answers.items()}

    def run(self, x: Floats | Pixels) -> dict[str, Floats]:
        """`(n, 3, height, width)` float32 or `(n, height, width, 3)` uint8 BGR → outputs by name, each `(n, ...)`."""
        if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.uint8):
            raise TypeError("x must be a numpy array of float32 or uint8")
        whole = x.dtype == np.float32
        if x.ndim != 4 or x.shape[1 if whole else 3] != 3:
            raise ValueError(
                f"x has the shape {x.shape}; it must be (n, 3, height, width) or, uint8, (n, height, width, 3)"
            )
        planes = np.asarray(x, np.float32) if whole else _planes(np.asarray(x, np.uint8), self.normalisation)
        if not len(x):
            shapes = self.outputs((planes.shape[2], planes.shape[3]))
            return {name: np.empty((0, *shape), np.float32) for name, shape in shapes.items()}
        return self._model.run(planes)


def _planes(pixels: Pixels, normalisation: Normalisation) -> Floats:
    """`(n, h, w, 3)` uint8 BGR as what the network is to be fed: `(n, 3, h, w)` float32."""
    ordered = pixels if normalisation["colour"] == "bgr" else pixels[..., ::-1]
    mean, std = (np.array(normalisation[key], np.float32) for key in ("mean", "std"))
    return np.ascontiguousarray(((ordered - mean) / std).transpose(0, 3, 1, 2), np.float32)


def _normalisation(model: onnx.ModelProto, name: str) -> Normalisation:
    """What the file's metadata declares; docs/engine.md has the keys."""
    given = {entry.key: entry.value for entry in model.metadata_props}
    mean = _three(given.get("vultus.mean", "0"))
    std = _three(given.get("vultus.std", "1"))
    if mean is None or std is None or min(std) <= 0:
        raise ModelFormatError(f"{name}: vultus.mean or vultus.std is neither one number nor three, std's positive")
    colour = given.get("vultus.colour", "rgb")
    if colour not in ("rgb", "bgr"):
        raise ModelFormatError(f"{name}: vultus.colour is neither rgb nor bgr")
    return {"mean": mean, "std": std, "colour": "bgr" if colour == "bgr" else "rgb"}


def _three(text: str) -> tuple[float, float, float] | None:
    """One number for all channels, or three."""
    try:
        numbers = [float(number) for number in text.replace(",", " ").split()]
    except ValueError:
        return None
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        return None
    return numbers[0], numbers[len(numbers) // 2], numbers[-1]


def _expect(name: str, array: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"{name} must be a numpy array of {np.dtype(dtype)}")
    if array.ndim != 4 or array.shape[1:] != shape:
        raise ValueError(f"{name} has the shape {array.shape}; it must be (n, {', '.join(map(str, shape))})")
