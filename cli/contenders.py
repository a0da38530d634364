"""Who computes a network how fast: the engine and its peers, interleaved on the same images, answers compared first."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from msgspec import Struct

from vultus.native import Engine, Network
from vultus.weights.as_onnx import as_onnx
from vultus.weights.onnx_runtime import OnnxModel

Floats = npt.NDArray[np.float32]
Run = Callable[[], list[Floats]]
"""Computes all images once; outputs in the file's order, `(n, ...)` each."""

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "opencv": "opencv-python-headless"}
"""What must be installed for each peer."""
_AGREE = 2e-3
"""Largest difference to the engine's answer, as a share of its largest number, at which both computed the same."""
_ROUNDS = (5, 400)
_PAUSE, _SHORT = 0.005, 0.03
"""Seconds: between contenders; calls below the second are made once before they are timed."""


class Subject(Struct, frozen=True, kw_only=True):
    """A network that is to be measured, at one size of picture."""

    name: str
    path: Path
    engine: Engine | None
    network: Network | None
    """Exactly one of the two."""
    size: tuple[int, int]
    macs: int
    """Multiply-adds of an image."""

    def images(self, batch: int, rand: np.random.Generator) -> Floats:
        """Noise as the network is to be fed: `(batch, 3, h, w)` float32, normalised."""
        model = self.engine or self.network
        assert model is not None
        pixels = rand.integers(0, 256, (batch, *self.size, 3)).astype(np.float32)
        mean, std = (np.array(model.normalisation[key], np.float32) for key in ("mean", "std"))
        return np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2), np.float32)


class Result(Struct, frozen=True, kw_only=True):
    """One contender on one network: milliseconds and speed of an image."""

    model: str
    size: tuple[int, int]
    threads: int
    batch: int
    contender: str
    ms: float
    """Median of the rounds."""
    ms_best: float
    gflops: float
    """Two for each multiply-add, by the median."""
    share_of_peak: float
    """Of `threads` times one core's peak."""
    times_vultus: float
    """Its time in units of the engine's: the median of the rounds' ratios."""
    rounds: int


def subject(path: Path, name: str, size: tuple[int, int] | None) -> Subject:
    """The network at `path`, as an embedder if it is one; `size` is for networks of any size."""
    try:
        engine = Engine(path, threads=1)
    except ValueError as refusal:
        try:
            network = Network(path, threads=1)
        except ValueError:
            raise refusal from None
        own = network.input_size or size
        if own is None:
            raise ValueError(f"{name}: takes pictures of any size; say one with --size") from None
        macs = sum(layer.macs for layer in network.profile(own, rounds=1))
        return Subject(name=name, path=path, engine=None, network=network, size=own, macs=macs)
    macs = sum(layer.macs for layer in engine.profile(batch=1, rounds=1))
    return Subject(name=name, path=path, engine=engine, network=None, size=engine.input_size, macs=macs)


def contest(
    what: Subject, *, threads: int, batch: int, peers: Sequence[str], seconds: float, seed: int, peak: float
) -> tuple[list[Result], dict[str, str]]:
    """Measure the engine and those of `peers` that can; also who could not, and why.

    `seconds` are spent on it, about; `peak` is one core's, in GFLOP/s.
    """
    x = what.images(batch, np.random.default_rng(seed))
    runs = {"vultus": _vultus(what, x, threads)}
    expected = runs["vultus"]()
    absent = {}
    graph = as_onnx(what.path) if peers else None
    for peer in peers:
        for name, make in _PEERS[peer].items():
            if name == "openvino streams" and not threads > 1 < batch:
                continue
            try:
                run = make(graph, x, threads)
                wrong = _difference(expected, run(), embedder=what.engine is not None)
                if not wrong < _AGREE:
                    raise ValueError(f"computes something else: a difference of {wrong:.2g} of the largest number")
                runs[name] = run
            except Exception as error:  # noqa: BLE001 - a peer's errors have no common class, and none ends the contest
                absent[name] = " ".join(str(error).split())[:200]
    once = sum(values[0] + _PAUSE for values in _measure(runs, 1).values())
    taken = _measure(runs, max(_ROUNDS[0], min(_ROUNDS[1], int(seconds / once))))
    ours = taken["vultus"]
    flop = 2e-9 * what.macs * batch
    results = [
        Result(
            model=what.name,
            size=what.size,
            threads=threads,
            batch=batch,
            contender=name,
            ms=statistics.median(values) / batch * 1e3,
            ms_best=min(values) / batch * 1e3,
            gflops=flop / statistics.median(values),
            share_of_peak=flop / statistics.median(values) / (peak * threads),
            times_vultus=statistics.median(value / own for value, own in zip(values, ours, strict=True)),
            rounds=len(values),
        )
        for name, values in taken.items()
    ]
    return results, absent


def installed(package: str) -> str | None:
    """The version of a package, none if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call; in a round each has its turn, in another order every round.

    A turn is a pause, in which the threads of whoever was before stop waiting for work on our processors, a call that
    wakes this contender's own (unless calls are so long that it would not matter), and the call that counts.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            time.sleep(_PAUSE)
            if not seconds[name] or seconds[name][-1] < _SHORT:
                runs[name]()
            start = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _difference(expected: list[Floats], got: list[Floats], *, embedder: bool) -> float:
    """The largest, as a share of the largest number; of embeddings after scaling to length 1, if lengths differ."""
    worst = 0.0
    for mine, theirs in zip(expected, got, strict=True):
        a, b = (value.reshape(len(mine), -1).astype(np.float64) for value in (mine, theirs))
        if a.shape != b.shape:
            raise ValueError(f"an output has the shape {theirs.shape}, not {mine.shape}")
        if embedder:
            a, b = (value / np.linalg.norm(value, axis=1, keepdims=True) for value in (a, b))
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)))
    return worst


def _vultus(what: Subject, x: Floats, threads: int) -> Run:
    if what.engine is not None:
        engine = Engine(what.path, threads=threads)
        return lambda: [engine.embed(x)]
    network = Network(what.path, threads=threads)
    return lambda: list(network.run(x).values())


def _onnx_runtime(graph: onnx.ModelProto, x: Floats, threads: int) -> Run:
    model = OnnxModel(graph.SerializeToString(), "the network", threads)
    return lambda: list(model.run(x).values())


def _openvino(graph: onnx.ModelProto, shape: tuple[int, ...], threads: int, streams: int) -> Any:
    import openvino

    core = openvino.Core()
    network = core.read_model(graph.SerializeToString())
    network.reshape(list(shape))
    hint = "THROUGHPUT" if streams > 1 else "LATENCY"
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
    return core.compile_model(network, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})


def _openvino_batch(graph: onnx.ModelProto, x: Floats, threads: int) -> Run:
    request = _openvino(graph, x.shape, threads, 1).create_infer_request()
    return lambda: [np.array(value) for value in request.infer([x]).values()]


def _openvino_streams(graph: onnx.ModelProto, x: Floats, threads: int) -> Run:
    from openvino import AsyncInferQueue

    queue = AsyncInferQueue(_openvino(graph, (1, *x.shape[1:]), threads, threads), threads)
    answers: list[list[Floats]] = [[]] * len(x)

    def keep(request: Any, i: int) -> None:
        answers[i] = [np.array(tensor.data) for tensor in request.output_tensors]

    queue.set_callback(keep)

    def run() -> list[Floats]:
        for i in range(len(x)):
            queue.start_async([x[i : i + 1]], i)
        queue.wait_all()
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    return run


def _opencv(graph: onnx.ModelProto, x: Floats, threads: int) -> Run:
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(graph.SerializeToString(), np.uint8))
    names = [output.name for output in graph.graph.output]

    def run() -> list[Floats]:
        parts = []
        for image in x:  # its memory for a batch is a new one for each size, and no faster
            network.setInput(image[None])
            parts.append([np.array(value) for value in network.forward(names)])
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return run


_PEERS: dict[str, dict[str, Callable[[Any, Floats, int], Run]]] = {
    "onnxruntime": {"onnxruntime": _onnx_runtime},
    "openvino": {"openvino": _openvino_batch, "openvino streams": _openvino_streams},
    "opencv": {"opencv": _opencv},
}
