"""EFM3 in numpy: writes files with random weights and computes them in float64, independently of the engine."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """What the architecture header says."""

    stem: int
    block: int
    final: int
    dim: int
    stages: tuple[tuple[int, int, int], ...]
    """(expansion, blocks, stride of the first block)"""
    stem_stride: int = 2

    @property
    def side(self) -> int:
        """Of the map that the global convolution covers."""
        side = (112 - 1) // self.stem_stride + 1
        for _, _, stride in self.stages:
            side = (side - 1) // stride + 1
        return side


@dataclass
class Layer:
    """A convolution with its batch norm and PReLU."""

    weight: np.ndarray
    norm: np.ndarray
    """(4, c_out): weight, bias, mean, variance"""
    slope: np.ndarray | None
    stride: int
    padding: int
    groups: int
    residual: bool = False
    begins_block: bool = False


def make_layers(shape: Shape, rng: np.random.Generator) -> list[Layer]:
    layers: list[Layer] = []

    def conv(c_in: int, c_out: int, k: int, stride: int, padding: int, groups: int, prelu: bool, **flags: bool) -> None:
        fan = c_in // groups * k * k
        layers.append(
            Layer(
                weight=rng.normal(0, (2 / fan) ** 0.5, (c_out, c_in // groups, k, k)).astype(np.float32),
                norm=np.stack(
                    [
                        rng.uniform(0.5, 1.5, c_out),
                        rng.normal(0, 0.1, c_out),
                        rng.normal(0, 0.1, c_out),
                        rng.uniform(0.5, 1.5, c_out),
                    ]
                ).astype(np.float32),
                slope=rng.uniform(0, 0.5, c_out).astype(np.float32) if prelu else None,
                stride=stride,
                padding=padding,
                groups=groups,
                **flags,
            )
        )

    conv(3, shape.stem, 3, shape.stem_stride, 1, 1, True)
    conv(shape.stem, shape.stem, 3, 1, 1, shape.stem, True)
    c_in = shape.stem
    for i, (expansion, blocks, first_stride) in enumerate(shape.stages):
        c_out = shape.block if i else shape.stem
        for b in range(blocks):
            stride = first_stride if b == 0 else 1
            wide = c_in * expansion
            conv(c_in, wide, 1, 1, 0, 1, True, begins_block=True)
            conv(wide, wide, 3, stride, 1, wide, True)
            conv(wide, c_out, 1, 1, 0, 1, False, residual=stride == 1 and c_in == c_out)
            c_in = c_out
    conv(c_in, shape.final, 1, 1, 0, 1, True)
    conv(shape.final, shape.final, shape.side, 1, 0, shape.final, False)
    conv(shape.final, shape.dim, 1, 1, 0, 1, False)
    return layers


def write(shape: Shape, layers: list[Layer]) -> bytes:
    header = struct.pack(
        "<BBBBHHHHB3x",
        1,
        len(shape.stages),
        3,
        shape.stem_stride,
        shape.stem,
        shape.block,
        shape.final,
        shape.dim,
        shape.side,
    )
    header += b"".join(struct.pack("<BBBBI", *stage, 0, 0) for stage in shape.stages)
    header = header.ljust(80, b"\0")
    text = json.dumps({"stem": shape.stem}).encode()
    tensors = []
    for layer in layers:
        tensors += [layer.weight, *layer.norm]
        if layer.slope is not None:
            tensors.append(layer.slope)
    out = (
        b"EFM3" + struct.pack("<I", 3) + header + struct.pack("<I", len(text)) + text + struct.pack("<I", len(tensors))
    )
    for tensor in tensors:
        out += struct.pack("<I", tensor.nbytes) + tensor.astype("<f4").tobytes()
    return out


def _convolve(x: np.ndarray, layer: Layer) -> np.ndarray:
    w = layer.weight.astype(np.float64)
    c_out, depth, *kernel = w.shape
    p, s = layer.padding, layer.stride
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))[:, :, ::s, ::s]
    if layer.groups == 1:
        return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)
    assert depth == 1
    assert layer.groups == c_out
    return np.einsum("nchwij,cij->nchw", windows, w[:, 0], optimize=True)


def compute(layers: list[Layer], x: np.ndarray) -> np.ndarray:
    """(n, 3, 112, 112) to (n, dim) of length 1, in float64 throughout."""
    y = x.astype(np.float64)
    block_input = y
    for layer in layers:
        if layer.begins_block:
            block_input = y
        y = _convolve(y, layer)
        weight, bias, mean, variance = layer.norm.astype(np.float64)[:, :, None, None]
        y = (y - mean) / np.sqrt(variance + EPSILON) * weight + bias
        if layer.slope is not None:
            y = np.where(y < 0, y * layer.slope.astype(np.float64)[:, None, None], y)
        if layer.residual:
            y = y + block_input
    y = y[:, :, 0, 0]
    return y / np.linalg.norm(y, axis=1, keepdims=True)
