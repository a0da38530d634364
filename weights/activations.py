"""What goes through a network: ranges and moments of its inner values over sample chips, computed by the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.native import Network
from vultus.weights.float_graph import Array, Convolution, FloatGraph

Chips = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float32]

_CHIPS = 4
"""At a time: a few megabytes of maps for each."""
_OUTPUTS = 60
"""Of one network, of at most 64."""
_BINS = 2048
_SHARES = np.linspace(0.4, 1.0, 16)
"""Of a value's range, of which the best is taken."""
_PIXELS = 196
"""Of a chip's map, at most, that moments are taken from."""


@dataclass(frozen=True)
class Range:
    """x is about (byte - zero) * scale."""

    scale: float
    zero: int


@dataclass
class Moments:
    """Of the inputs of a convolution: (columns,) and (columns, columns), with (channels, ...) before for a depthwise one."""

    mean: Array
    covariance: Array
    pixels: int
    """Of the convolution's result."""


def maps(graph: FloatGraph, values: Sequence[str], chips: Chips) -> Iterator[dict[str, Maps]]:
    """Values, (n, c, h, w) each, for a few chips at a time and some of the values at a time."""
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(values), _OUTPUTS):
            path = Path(folder) / f"{start}.onnx"
            path.write_bytes(graph.model(values[start : start + _OUTPUTS]).SerializeToString())
            network = Network(path)
            for i in range(0, len(chips), _CHIPS):
                yield network.run(np.ascontiguousarray(chips[i : i + _CHIPS]))


def widths(graph: FloatGraph, chips: Chips) -> dict[str, Array]:
    """The largest magnitude of each channel of the values that become bytes."""
    found: dict[str, Array] = {}
    for some in maps(graph, graph.byte_values(), chips):
        for name, values in some.items():
            most = np.abs(values).max(axis=(0, 2, 3)).astype(np.float64)
            found[name] = np.maximum(found.get(name, most), most)
    return found


def measure(graph: FloatGraph, widest: dict[str, float], chips: Chips) -> tuple[dict[str, Range], dict[str, Moments]]:
    """Ranges of the values that become bytes, and moments of the inputs of convolutions in bytes, by their outputs.

    `widest` is the largest magnitude of each value.
    """
    readers: dict[str, list[Convolution]] = {}
    for conv in graph.convolutions:
        if conv.in_bytes:
            readers.setdefault(conv.node.input[0], []).append(conv)
    histograms = {name: np.zeros(_BINS) for name in widest}
    sums: dict[str, tuple[int, Array, Array]] = {}
    pixels: dict[str, int] = {}
    for some in maps(graph, graph.byte_values(), chips):
        for name, values in some.items():
            most = widest[name] or 1.0
            histograms[name] += np.histogram(values, _BINS, (-most, most))[0]
            for conv in readers.get(name, []):
                count, total, products = _sums(conv, values)
                if conv.node.output[0] in sums:
                    before = sums[conv.node.output[0]]
                    count, total, products = count + before[0], total + before[1], products + before[2]
                sums[conv.node.output[0]] = count, total, products
                pixels[conv.node.output[0]] = int(np.prod(-(-np.array(values.shape[2:]) // conv.strides)))
    ranges = {name: _best_range(histogram, widest[name] or 1.0) for name, histogram in histograms.items()}
    moments = {}
    for name, (count, total, products) in sums.items():
        mean = total / count
        moments[name] = Moments(mean, products / count - mean[..., :, None] * mean[..., None, :], pixels[name])
    return ranges, moments


def _sums(conv: Convolution, values: Maps) -> tuple[int, Array, Array]:
    every = max(1, int(np.sqrt(values.shape[2] * values.shape[3] / _PIXELS)))
    if not conv.depthwise:
        rows = values[:, :, ::every, ::every].transpose(0, 2, 3, 1).reshape(-1, values.shape[1]).astype(np.float64)
        return len(rows), rows.sum(0), rows.T @ rows
    top, left, bottom, right = conv.pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    sy, sx = conv.strides
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, :: sy * every, :: sx * every]
    taps = windows.transpose(1, 0, 2, 3, 4, 5).reshape(values.shape[1], -1, 9).astype(np.float64)
    return taps.shape[1], taps.sum(1), np.swapaxes(taps, 1, 2) @ taps


def _best_range(histogram: Array, widest: float) -> Range:
    """The range whose rounding and clipping together leave the smallest squared error."""
    middles = ((np.arange(_BINS) + 0.5) / _BINS * 2 - 1) * widest
    seen = np.flatnonzero(histogram)
    low = min(0.0, float(middles[seen[0]])) if len(seen) else 0.0
    high = max(0.0, float(middles[seen[-1]])) if len(seen) else 0.0
    best, least = Range((high - low or 1.0) / 255, 0), np.inf
    for a in _SHARES if low < 0 else (1.0,):
        for b in _SHARES if high > 0 else (1.0,):
            scale = float(np.float32((high * b - low * a) / 255)) or 1e-6
            zero = int(np.clip(round(-low * a / scale), 0, 255))
            steps = np.clip(np.round(middles[seen] / scale) + zero, 0, 255)
            error = float((histogram[seen] * ((steps - zero) * scale - middles[seen]) ** 2).sum())
            if error < least:
                best, least = Range(scale, zero), error
    return best


Progress = Callable[[str, float], None]
"""Called with what is happening in words, and which share of that is done, 0..1."""
