import os
from typing import Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

class CpuFeatures(TypedDict):
    """What `cpu_features` answers."""

    features: dict[str, bool]
    isas: dict[str, str]

class BuildInfo(TypedDict):
    """What `build_info` answers."""

    version: str

class Memory(TypedDict):
    """Bytes that an engine holds."""

    weights: int
    per_thread: int

class Normalisation(TypedDict):
    """How pixels become the network's input: (pixel - mean) / std, by channel in the order that `colour` names."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: Literal["rgb", "bgr"]

class LayerTime(NamedTuple):
    """Where the time goes: one line of a profile.

    kind: "input" (first), "output" (last), or what the layer computes: "pointwise", "depthwise", ...
    text: as `Engine.layers` has it; empty for input and output.
    group: layers of one number are computed together, in bands of rows; None outside of any group.
    macs: multiply-adds of an image; 0 where there are none worth counting.
    seconds: of an image, of one thread.
    """

    kind: str
    text: str
    group: int | None
    macs: int
    seconds: float

class ModelFormatError(ValueError):
    """A model file that cannot be used: cut, contradictory, beyond a limit, or (a subclass) not for this engine.

    The message says what is wrong; `offset` is the byte of the file that it is about, None where no byte is to blame.
    """

    offset: int | None
    def __init__(self, message: str, offset: int | None = None) -> None: ...

class UnsupportedModelError(ModelFormatError):
    """A model file in which nothing is wrong as far as it was read, but which asks for what the engine does not compute.

    `args[0]` names the operator, attribute or shape; the error's text also says the `remedy`.
    """

    remedy: str

class _Opened:
    """What an engine and a network have in common."""

    def __init__(
        self, path: str | os.PathLike[str], threads: int = 0, isa: Literal["auto", "scalar", "avx2", "neon"] = "auto"
    ) -> None: ...
    @property
    def isa(self) -> str:
        """What "auto" became."""
    @property
    def threads(self) -> int:
        """What 0 became."""
    @property
    def normalisation(self) -> Normalisation:
        """What the model declares is to be done to uint8 pixels, and `embed_chips` or `run` does."""

class Engine(_Opened):
    """A face embedding network, opened and ready.

    One engine may be used by any number of threads at once; all of them together compute on at most `threads`
    processors, and the GIL is free while they do. Nothing is allocated while it computes but the answer. An engine does
    not survive `os.fork()`: the child gets a RuntimeError and opens its own.

    Args:
        path: an EFM3 file or an ONNX graph; told apart by content.
        threads: processors to use at most, 1..256; 0 stands for all that this process may run on.
        isa: instruction set of the kernels. "auto" is the best that runs here; a forced one never falls back.
        precision: what the file has to be, "fp32" or "int8"; None: as it is. A file holds one of them.

    Raises:
        FileNotFoundError, PermissionError, OSError: the file cannot be read.
        UnsupportedModelError: it can, but holds something that the engine does not compute, which is named.
        ModelFormatError: it can, but is damaged or beyond a limit; says why and at which byte.
        ValueError: an unknown instruction set, or one that this processor or build lacks; a file of another precision.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int = 0,
        isa: Literal["auto", "scalar", "avx2", "neon"] = "auto",
        precision: Literal["fp32", "int8"] | None = None,
    ) -> None: ...
    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """What it computes in: "int8" if any of its convolutions is computed from bytes."""
    @property
    def dim(self) -> int:
        """Numbers of one vector."""
    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of one chip in pixels."""
    @property
    def layers(self) -> tuple[str, ...]:
        """A line for each layer, after fusion: what it computes, its sizes, its kernel."""
    @property
    def format(self) -> str:
        """Of the file: "EFM3" or "ONNX"."""
    @property
    def memory(self) -> Memory:
        """Bytes of packed weights, and of the working memory that each thread has."""
    def embed(self, x: NDArray[np.float32], *, normalize: bool = True) -> NDArray[np.float32]:
        """Vectors of faces that are normalised already.

        Args:
            x: (n, 3, height, width) float32, C-contiguous: what the network is to be fed, RGB planes (the model's own
                order if it declares BGR), normalised as it was trained; EFM3: (pixel - 127.5) / 128. n may be 0.
            normalize: scale each vector to Euclidean length 1; False leaves it as the network gave it.

        Returns:
            (n, dim) float32.

        Raises:
            TypeError: not a numpy array, or not float32.
            ValueError: another shape, or not C-contiguous.
            RuntimeError: the engine was opened before a fork, by the parent.
        """
    def embed_chips(self, chips: NDArray[np.uint8], *, normalize: bool = True) -> NDArray[np.float32]:
        """Vectors of aligned face chips.

        Args:
            chips: (n, height, width, 3) uint8, BGR, 0..255, C-contiguous, as OpenCV gives them. n may be 0.
            normalize: as for `embed`.

        Returns:
            (n, dim) float32.

        Raises:
            The same as `embed`.
        """

    def profile(self, batch: int = 32, rounds: int = 10) -> list[LayerTime]:
        """Measures where the time goes, by one thread that computes noise through the plan, bands and all.

        The clock is read after each call of a layer (some 30 ns); nothing is measured, and nothing slower, without a
        profile. Other threads may use the engine meanwhile, and disturb the figures.

        Args:
            batch: faces that are computed together, 1..1024.
            rounds: how often, 1..1,000,000; the answer is the round that was fastest as a whole.

        Returns:
            The input, each layer in order, the output. The sum of `seconds` is one face's time.

        Raises:
            ValueError, TypeError: batch or rounds out of range, or no int.
            RuntimeError: the engine was opened before a fork, by the parent.
        """

class NetworkMemory(TypedDict):
    """Bytes that a network holds: its file, the packed weights of all `sizes` that are planned, at most `most_sizes`, and
    the working memory that each thread has, which is that of the largest size so far."""

    file: int
    weights: int
    per_thread: int
    sizes: int
    most_sizes: int

class Network(_Opened):
    """A network of any input size and several outputs, such as a detector.

    Each size that it is asked for is planned once, in a few milliseconds; plans of the last four sizes are kept. One
    network may be used by any number of threads at once; the GIL is free while it computes. All calls
    together compute on at most `threads` processors, a call with one image on as many. It does not survive `os.fork()`.

    Args:
        path: an ONNX graph with one input n x 3 x height x width; height and width given, or both open.
        threads, isa: as for `Engine`.

    Raises:
        The same as `Engine`.
    """

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width of an image in pixels; None if the network takes any."""
    @property
    def memory(self) -> NetworkMemory:
        """Bytes that it holds now."""
    def outputs(self, size: tuple[int, int] | None = None) -> dict[str, tuple[int, ...]]:
        """Shape of each output for one image of `size` (height, width), None: its own; in the file's order."""
    def layers(self, size: tuple[int, int] | None = None) -> tuple[str, ...]:
        """A line for each layer, after fusion, at `size`."""
    def run(self, x: NDArray[np.float32] | NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name, each (n, ...) float32.

        Args:
            x: (n, 3, height, width) float32, what the network is to be fed; or (n, height, width, 3) uint8, BGR,
                0..255, which is normalised and put in order as the model declares. C-contiguous.

        Raises:
            TypeError: not a numpy array, or another dtype.
            ValueError: another shape, a size that the network does not take, or not C-contiguous.
            ModelFormatError: the graph contradicts itself at this size, or exceeds a limit; says at which byte.
            RuntimeError: the network was opened before a fork, by the parent.
        """
    def profile(self, size: tuple[int, int] | None = None, *, batch: int = 1, rounds: int = 10) -> list[LayerTime]:
        """As `Engine.profile`, for images of `size` (height, width), None: the network's own."""

def cpu_features() -> CpuFeatures:
    """What this processor, with its operating system, offers and what this build can use of it."""

def peak_gflops(
    isa: Literal["auto", "scalar", "avx2", "neon"] = "auto", threads: int = 1, seconds: float = 0.2
) -> float:
    """What a layer's speed is a share of: GFLOP/s of independent multiply-adds (two operations each) in registers.

    Args:
        isa: as for `Engine`.
        threads: that compute at once, 1..256; 0 stands for all that this process may run on. The answer is their sum.
        seconds: how long it takes, brought within 0.05..10; the answer is that of the best ten milliseconds.

    Raises:
        ValueError: an unknown instruction set, one that cannot run here, or threads that cannot be started.
    """

def build_info() -> BuildInfo:
    """About the compiled part of this package."""
