"""MobileFaceNets as ONNX graphs, so that others can compute what the engine computes: that of an EFM3
file or a checkpoint, or a random one."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from vultus.weights.efm3 import Network
from vultus.weights.errors import ImportFailed

Array = npt.NDArray[np.float32]
Stages = Sequence[tuple[int, ...]]
"""(expansion, blocks, stride of the first block) for each stage."""

PAPER = (64, 128, 512, 128, ((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1)))
"""Channels of stem, blocks and final convolution, numbers of the embedding, stages."""


class _Builder:
    def __init__(self, take: Callable[[str, tuple[int, ...]], Array]) -> None:
        self.take = take
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def constant(self, role: str, shape: tuple[int, ...], stored: tuple[int, ...] | None = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(self.take(role, shape).reshape(stored or shape), name))
        return name

    def conv(
        self,
        x: str,
        c_in: int,
        c_out: int,
        k: int | tuple[int, int],
        stride: int,
        pad: int,
        depthwise: bool,
        prelu: bool,
    ) -> str:
        groups = c_out if depthwise else 1
        height, width = (k, k) if isinstance(k, int) else k
        weight = self.constant("weight", (c_out, c_in // groups, height, width))
        x = self.node("Conv", x, weight, group=groups, strides=[stride] * 2, pads=[pad] * 4)
        norm = [self.constant(role, (c_out,)) for role in ("scale", "bias", "mean", "variance")]
        x = self.node("BatchNormalization", x, *norm, epsilon=1e-5)
        return self.node("PRelu", x, self.constant("slope", (c_out,), (c_out, 1, 1))) if prelu else x


def _network(
    take: Callable[[str, tuple[int, ...]], Array],
    stem: int,
    block: int,
    final: int,
    dim: int,
    stages: Stages,
    stride: int,
    kernel: tuple[int, int],
    pixels: tuple[int, int] = (112, 112),
) -> onnx.ModelProto:
    b = _Builder(take)
    x = b.conv("data", 3, stem, 3, stride, 1, False, True)
    x = b.conv(x, stem, stem, 3, 1, 1, True, True)
    c_in = stem
    for i, (expansion, blocks, first) in enumerate(stages):
        c_out = block if i else stem
        for j in range(blocks):
            s, wide, before = 1 if j else first, c_in * expansion, x
            x = b.conv(x, c_in, wide, 1, 1, 0, False, True)
            x = b.conv(x, wide, wide, 3, s, 1, True, True)
            x = b.conv(x, wide, c_out, 1, 1, 0, False, False)
            if s == 1 and c_in == c_out:
                x = b.node("Add", before, x)
            c_in = c_out
    x = b.conv(x, c_in, final, 1, 1, 0, False, True)
    x = b.conv(x, final, final, kernel, 1, 0, True, False)
    x = b.node("Flatten", b.conv(x, final, dim, 1, 1, 0, False, False))
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, *pixels])
    out = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", dim])
    graph = helper.make_graph(b.nodes, "mobilefacenet", [data], [out], b.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"vultus.mean": "127.5", "vultus.std": "128"})
    return model


def from_efm3(data: bytes) -> onnx.ModelProto:
    """The network of an EFM3 file, `n x 3 x 112 x 112` (pixels normalised) to `n x dim` (not scaled to length 1).

    The engine's reader is the one that checks a file, and has to open it before. Raises ImportFailed for one of another
    version, and struct.error or ValueError for one that the engine would refuse.
    """
    magic, file_version, version, stages, _, stride, stem, block, final, dim, k = struct.unpack_from(
        "<4sIBBBBHHHHB", data
    )
    if magic != b"EFM3" or (file_version, version) != (3, 1):
        raise ImportFailed(
            "not an EFM3 file of version 3, which is FP32; of an INT8 file, name the one that it was made of"
        )
    at = 92 + struct.unpack_from("<I", data, 88)[0] + 4

    def take(_: str, shape: tuple[int, ...]) -> Array:
        nonlocal at
        size = struct.unpack_from("<I", data, at)[0]
        at += 4 + size
        return np.frombuffer(data, "<f4", size // 4, at - size).reshape(shape)

    records = [struct.unpack_from("<BBB", data, 24 + 8 * i) for i in range(stages)]
    return _network(take, stem, block, final, dim, records, stride, (k, k))


def from_network(network: Network) -> onnx.ModelProto:
    """The network of a checkpoint or a graph, `n x 3 x height x width` of its pixels (normalised) to `n x dim`."""
    tensors = network.tensors()

    def take(_: str, shape: tuple[int, ...]) -> Array:
        return next(tensors).astype(np.float32, copy=False).reshape(shape)

    model = _network(take, *network.sizes, network.stages, network.stem_stride, network.kernel, network.pixels)
    onnx.checker.check_model(model, full_check=True)
    return model


def random(rand: np.random.Generator) -> onnx.ModelProto:
    """The paper's MobileFaceNet (221 million multiply-adds) with random weights."""

    def take(role: str, shape: tuple[int, ...]) -> Array:
        if role == "weight":
            return (rand.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        low, high = {"scale": (0.5, 1.0), "variance": (0.5, 1.5), "slope": (0.0, 0.5)}.get(role, (-0.1, 0.1))
        return rand.uniform(low, high, shape).astype(np.float32)

    stem, block, final, dim, stages = PAPER
    return _network(take, stem, block, final, dim, stages, 2, (7, 7))
