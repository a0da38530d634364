"""Which runtime computes a model: the engine, or ONNX Runtime where the engine lacks an operator."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vultus.native import Engine, Network, UnsupportedModelError

if TYPE_CHECKING:
    from vultus.native._engine import Normalisation

Backend = Literal["auto", "engine", "onnx"]
"""`engine`: nothing else. `onnx`: ONNX Runtime, also for what the engine computes. `auto`: the engine, and ONNX Runtime,
if it is installed, for a graph with an operator that the engine lacks; a log line says so. Damaged files and those
beyond the engine's limits are refused by all three."""

Isa = Literal["auto", "scalar", "avx2", "neon"]
Opened = TypeVar("Opened")

_log = logging.getLogger("vultus.weights")


class Embedder(Protocol):
    """What `Engine` and its stand-in have in common; `vultus.native.Engine` says what each means."""

    @property
    def dim(self) -> int:
        """Numbers of one vector."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of one chip."""

    @property
    def threads(self) -> int:
        """Processors to use at most."""

    @property
    def normalisation(self) -> Normalisation:
        """What is done to uint8 pixels."""

    def embed(self, x: npt.NDArray[np.float32], *, normalize: bool = True) -> npt.NDArray[np.float32]:
        """Vectors of faces that are normalised already."""

    def embed_chips(self, chips: npt.NDArray[np.uint8], *, normalize: bool = True) -> npt.NDArray[np.float32]:
        """Vectors of aligned chips, BGR."""


class PictureNetwork(Protocol):
    """What `Network` and its stand-in have in common; `vultus.native.Network` says what each means."""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width; None: any."""

    @property
    def threads(self) -> int:
        """Processors to use at most."""

    @property
    def normalisation(self) -> Normalisation:
        """What is done to uint8 pixels."""

    def outputs(self, size: tuple[int, int] | None = None) -> dict[str, tuple[int, ...]]:
        """Shape of each output for one image."""

    def run(self, x: npt.NDArray[np.float32] | npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name."""


def open_embedder(
    path: str | os.PathLike[str], *, threads: int = 0, isa: Isa = "auto", backend: Backend = "auto"
) -> Embedder:
    """The face embedding network at `path`, ready; `threads` and `isa` as for `Engine`.

    Raises what `Engine` raises; UnsupportedModelError, which says the remedy, if nobody here computes the model, and
    BackendMissing (an ImportError) if `backend` is "onnx" and ONNX Runtime is not installed.
    """

    def other() -> Embedder:
        from vultus.weights.onnx_runtime import OnnxEmbedder

        return OnnxEmbedder(path, threads)

    return _open(lambda: Engine(path, threads=threads, isa=isa), other, backend)


def open_network(
    path: str | os.PathLike[str], *, threads: int = 0, isa: Isa = "auto", backend: Backend = "auto"
) -> PictureNetwork:
    """The same for a network of any input size and several outputs, such as a detector."""

    def other() -> PictureNetwork:
        from vultus.weights.onnx_runtime import OnnxNetwork

        return OnnxNetwork(path, threads)

    return _open(lambda: Network(path, threads=threads, isa=isa), other, backend)


def _open(engine: Callable[[], Opened], other: Callable[[], Opened], backend: Backend) -> Opened:
    if backend == "onnx":
        return other()
    try:
        return engine()
    except UnsupportedModelError as error:
        if backend == "engine":
            raise
        from vultus.weights.onnx_runtime import installed  # not for models that the engine computes

        found = installed()
        if found is None:
            raise
        _log.warning("%s; ONNX Runtime %s runs it instead", error.args[0], found)
        return other()
