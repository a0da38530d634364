"""Whether the engine computes what a model file says, by the word of implementations that share no code with it.

Judges are the reference evaluator of the `onnx` package, run in double precision, and ONNX Runtime if it is installed.
An EFM3 file goes to them as the ONNX graph that `weights/mobilefacenet.py` writes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from msgspec import Struct
from onnx import TensorProto, numpy_helper

from vultus.native import Engine, ModelFormatError, Network, cpu_features
from vultus.weights import onnx_check
from vultus.weights.as_onnx import as_onnx
from vultus.weights.onnx_runtime import OnnxModel, installed

Numbers = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Answers = dict[str, Numbers]
"""Outputs by name, `(n, ...)`."""

EMBEDDER_TOLERANCE = 1.3e-5
"""Of vectors of length 1: what another order of FP32 additions may change in a network of a hundred layers."""
INT8_TOLERANCE = 0.1
"""The same of a file in INT8: its roundings move a number by a few hundredths, another network's are tenths away."""
NETWORK_TOLERANCE = 1e-4
"""Of other outputs, as a share of the output's largest number, or of 1 if that is larger."""
_SIZE = (320, 320)
"""Pictures for a network of any size."""


class Difference(Struct, frozen=True, kw_only=True):
    """The engine with the kernels of `isa` against a judge, in one output over all samples."""

    isa: str
    judge: str
    output: str
    largest: float
    """Absolute difference of any number: of vectors of length 1; of another output as a share of its largest number or
    of 1."""
    cosine: float | None
    """The smallest, of embeddings."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What came out for a file."""

    differences: tuple[Difference, ...]
    tolerance: float
    left_out: dict[str, str]
    """Judges who could not compute the network, and why."""

    @property
    def holds(self) -> bool:
        """Whether somebody judged, and nobody found a difference above the tolerance."""
        return bool(self.differences) and all(one.largest <= self.tolerance for one in self.differences)


def verify(
    path: Path, *, against: Path | None = None, samples: int = 2, seed: int = 1, tolerance: float | None = None
) -> Verdict:
    """Let the engine compute noise by the model at `path`, with each kind of kernels that runs here, and compare.

    `against`: an ONNX file or a checkpoint (PyTorch, Keras) that says what is right; none: the file itself. Raises what
    `Engine` raises, and ValueError if the two take pictures of different sizes.
    """
    runs, size, embedder = _engine(path)
    graph = as_onnx(path if against is None else against)
    name = str(path if against is None else against)
    onnx_check.bound(graph, (1, 3, *size), name)  # the reference evaluator takes any memory too
    rand = np.random.default_rng(seed)
    normalisation = next(iter(runs.values())).normalisation
    pixels = rand.integers(0, 256, (samples, *size, 3))
    x = ((pixels - np.array(normalisation["mean"])) / np.array(normalisation["std"])).astype(np.float32)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    given = {isa: _computed(model, x) for isa, model in runs.items()}
    differences: list[Difference] = []
    left_out: dict[str, str] = {}
    for judge, compute in _judges(graph, name).items():
        try:
            right = compute(x)
            for isa, answers in given.items():
                differences += _compare(isa, judge, answers, right, embedder=embedder)
        except Exception as error:  # noqa: BLE001 - a judge's errors have no common class; it is named and left out
            left_out[judge] = " ".join(str(error).split())[:200] or type(error).__name__
    if installed() is None:
        left_out["ONNX Runtime"] = "not installed; `pip install 'vultus[onnx]'`"
    limit = _tolerance(runs) if tolerance is None else tolerance
    return Verdict(differences=tuple(differences), tolerance=limit, left_out=left_out)


def _tolerance(runs: dict[str, Engine | Network]) -> float:
    one = next(iter(runs.values()))
    if not isinstance(one, Engine):
        return NETWORK_TOLERANCE
    return INT8_TOLERANCE if one.precision == "int8" else EMBEDDER_TOLERANCE


def _engine(path: Path) -> tuple[dict[str, Engine | Network], tuple[int, int], bool]:
    """The model opened for each kind of kernels, the size of its pictures, whether it is an embedder."""
    isas = [isa for isa, state in cpu_features()["isas"].items() if state == "usable"]
    try:
        engines: dict[str, Engine | Network] = {isa: Engine(path, threads=1, isa=isa) for isa in isas}  # type: ignore[arg-type]
    except ModelFormatError as refusal:
        try:
            engines = {isa: Network(path, threads=1, isa=isa) for isa in isas}  # type: ignore[arg-type]
        except ModelFormatError:
            raise refusal from None
    one = next(iter(engines.values()))
    return engines, one.input_size or _SIZE, isinstance(one, Engine)


def _computed(model: Engine | Network, x: npt.NDArray[np.float32]) -> Answers:
    return {"embedding": model.embed(x, normalize=False)} if isinstance(model, Engine) else dict(model.run(x))


def _judges(graph: onnx.ModelProto, name: str) -> dict[str, Callable[[npt.NDArray[np.float32]], Answers]]:
    judges: dict[str, Callable[[npt.NDArray[np.float32]], Answers]] = {
        f"float64 (onnx {onnx.__version__})": lambda x: _in_double(graph, x)
    }
    if (version := installed()) is not None:
        judges[f"ONNX Runtime {version}"] = lambda x: dict(OnnxModel(graph.SerializeToString(), name).run(x))
    return judges


def _in_double(graph: onnx.ModelProto, x: npt.NDArray[np.float32]) -> Answers:
    """By the reference evaluator, image by image: its memory grows with kernels times pixels."""
    from onnx.reference import ReferenceEvaluator

    double = onnx.ModelProto()
    double.CopyFrom(onnx_check.modern(graph))
    constants = [node.attribute[0].t for node in double.graph.node if node.op_type == "Constant"]
    for tensor in (*double.graph.initializer, *constants):
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    names = [output.name for output in double.graph.output]
    entry = onnx_check.only_input(graph, "the graph").name
    evaluator = ReferenceEvaluator(double)
    parts: list[Any] = [evaluator.run(names, {entry: image[None].astype(np.float64)}) for image in x]
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def _compare(isa: str, judge: str, given: Answers, right: Answers, *, embedder: bool) -> list[Difference]:
    if len(given) != len(right):
        raise ValueError(f"{len(right)} outputs for the engine's {len(given)}")
    found = []
    for (name, mine), theirs in zip(given.items(), right.values(), strict=True):
        a, b = (value.reshape(len(mine), -1).astype(np.float64) for value in (mine, theirs))
        if a.shape != b.shape:
            raise ValueError(f"the output {name} has {b.shape[1]} numbers for the engine's {a.shape[1]}")
        cosine = None
        if embedder:
            a, b = (value / np.linalg.norm(value, axis=1, keepdims=True) for value in (a, b))
            cosine = float((a * b).sum(1).min())
        largest = float(np.abs(a - b).max() / (1.0 if embedder else max(1.0, np.abs(b).max())))
        found.append(Difference(isa=isa, judge=judge, output=name, largest=largest, cosine=cosine))
    return found
