"""ResNet face embedders with random weights, as the usual exporters write them, so that engines can be compared on them
without anybody's weights.

`iresnet()`: InsightFace's and MagFace's iResNet, as PyTorch's two exporters write it. `arcface_mxnet()`: the ResNet-100
of the ONNX Model Zoo's ArcFace, exported from MXNet in opset 8. The numbers are drawn so that a face's values keep their
size through all blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Residual blocks of the four stages, by the depth that gives the network its name."""
WIDTHS = (64, 128, 256, 512)
GENERATED: dict[str, Callable[[np.random.Generator], onnx.ModelProto]] = {
    "iresnet18": lambda rand: iresnet(rand, 18, folded=True),
    "iresnet50": lambda rand: iresnet(rand, 50, folded=True),
    "iresnet100": lambda rand: iresnet(rand, 100, folded=True),
    "arcface100": lambda rand: arcface_mxnet(rand, 100),
}
"""Networks by name: as they are usually distributed, 112 x 112 pixels to 512 numbers."""


class _Builder:
    """Appends nodes. folded: batch norms behind a convolution are in its weights. norm_attributes: of the others."""

    def __init__(self, rand: np.random.Generator, folded: bool, **norm_attributes: object) -> None:
        self.rand = rand
        self.folded = folded
        self.norm_attributes = norm_attributes
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def uniform(self, low: float, high: float, n: int) -> np.ndarray:
        return self.rand.uniform(low, high, n).astype(np.float32)

    def norm(self, name: str, x: str, c: int) -> str:
        numbers = {
            "weight": self.uniform(0.8, 1.2, c),
            "bias": self.uniform(-0.2, 0.2, c),
            "running_mean": self.uniform(-0.2, 0.2, c),
            "running_var": self.uniform(0.7, 1.3, c),
        }
        inputs = [self.constant(f"{name}.{key}", value) for key, value in numbers.items()]
        return self.node("BatchNormalization", f"{name}.out", x, *inputs, epsilon=1e-5, **self.norm_attributes)

    def conv(self, name: str, x: str, c_in: int, c_out: int, k: int, stride: int, gain: float = 1.0) -> str:
        """A convolution without a bias and its batch norm, or both in one."""
        std = gain / (c_in * k * k) ** 0.5
        weight = (self.rand.standard_normal((c_out, c_in, k, k)) * std).astype(np.float32)
        inputs = [self.constant(f"{name}.weight", weight)]
        if self.folded:
            inputs.append(self.constant(f"{name}.bias", self.uniform(-0.2, 0.2, c_out)))
        pads, strides = [k // 2] * 4, [stride] * 2
        x = self.node("Conv", f"{name}.conv", x, *inputs, kernel_shape=[k, k], pads=pads, strides=strides, group=1)
        return x if self.folded else self.norm(f"{name}.bn", x, c_out)

    def model(self, name: str, x: str, size: int, dim: int, opset: int, batch: int | str) -> onnx.ModelProto:
        data = helper.make_tensor_value_info(self.nodes[0].input[0], TensorProto.FLOAT, [batch, 3, size, size])
        out = helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, dim])
        graph = helper.make_graph(self.nodes, name, [data], [out], self.constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if opset < 9 else 8
        )


def _body(b: _Builder, x: str, blocks: Sequence[int], widths: Sequence[int], slope: Callable[[str, int], str]) -> str:
    """The stem and the residual blocks: batch norm, convolution, PReLU, convolution, and the sum with the shortcut."""
    x = b.conv("stem", x, 3, widths[0], 3, 1)
    x = b.node("PRelu", "stem.prelu", x, slope("stem", widths[0]))
    c_in = widths[0]
    for i, (count, c) in enumerate(zip(blocks, widths, strict=True)):
        for j in range(count):
            name, stride = f"layer{i + 1}.{j}", 1 if j else 2
            y = b.norm(f"{name}.bn1", x, c_in)
            y = b.conv(f"{name}.conv1", y, c_in, c, 3, 1)
            y = b.node("PRelu", f"{name}.prelu", y, slope(name, c))
            y = b.conv(f"{name}.conv2", y, c, c, 3, stride, 0.3)
            skip = x if j else b.conv(f"{name}.downsample", x, c_in, c, 1, stride)
            x = b.node("Add", f"{name}.add", y, skip)
            c_in = c
    return x


def iresnet(
    rand: np.random.Generator,
    depth: int = 100,
    *,
    folded: bool = True,
    dynamo: bool = False,
    batch: int | str = "batch_size",
    size: int = 112,
    blocks: Sequence[int] | None = None,
    widths: Sequence[int] = WIDTHS,
    dim: int = 512,
) -> onnx.ModelProto:
    """An iResNet as PyTorch exports it: `batch` x 3 x `size` x `size` to `batch` x `dim`.

    folded: constants folded and batch norms in the convolutions' weights; else every batch norm is a node, and the
    slopes are unsqueezed by nodes. dynamo: what the newer exporter writes (opset 18, Reshape for flattening).
    """
    opset = 18 if dynamo else 13
    b = _Builder(rand, folded)

    def slope(name: str, c: int) -> str:
        values = b.uniform(0.1, 0.4, c)
        if folded:
            return b.constant(f"{name}.slope", values.reshape(c, 1, 1))
        axes = b.constant(f"{name}.axes", np.array([1, 2], np.int64))
        return b.node("Unsqueeze", f"{name}.slope", b.constant(f"{name}.prelu.weight", values), axes)

    x = _body(b, "input.1", blocks or BLOCKS[depth], widths, slope)
    x = b.norm("bn2", x, widths[-1])
    if not folded:
        x = b.node("Dropout", "dropout", x, b.constant("ratio", np.array(0.4, np.float32)))
    side = size
    for _ in widths:
        side = (side - 1) // 2 + 1
    n = widths[-1] * side * side
    if dynamo:
        x = b.node("Reshape", "view", x, b.constant("shape", np.array([-1 if batch != 1 else 1, n])), allowzero=0)
    else:
        x = b.node("Flatten", "flatten", x, axis=1)
    weight = (rand.standard_normal((dim, n)) / n**0.5).astype(np.float32)
    x = b.node(
        "Gemm", "fc", x, b.constant("fc.weight", weight), b.constant("fc.bias", b.uniform(-0.1, 0.1, dim)), transB=1
    )
    x = b.norm("features", x, dim)
    return b.model("main_graph" if dynamo else "torch_jit", x, size, dim, opset, batch)


def arcface_mxnet(
    rand: np.random.Generator,
    depth: int = 100,
    *,
    spatial: int = 1,
    slope_rank: int = 3,
    size: int = 112,
    blocks: Sequence[int] | None = None,
    widths: Sequence[int] = WIDTHS,
    dim: int = 512,
) -> onnx.ModelProto:
    """The ResNet of the Model Zoo's ArcFace: pixels of 0..255 in, opset 8, initializers among the graph's inputs.

    spatial: of the batch norms; the Zoo's first file has 0. slope_rank: 3 for slopes c x 1 x 1, 1 for c, which only
    some runtimes take.
    """
    b = _Builder(rand, folded=False, momentum=0.9, spatial=spatial)

    def slope(name: str, c: int) -> str:
        return b.constant(f"{name}_gamma", b.uniform(0.1, 0.4, c).reshape((c, 1, 1)[:slope_rank]))

    x = b.node("Sub", "_minusscalar0", "data", b.constant("scalar_op1", np.array([127.5], np.float32)))
    x = b.node("Mul", "_mulscalar0", x, b.constant("scalar_op2", np.array([1 / 128], np.float32)))
    x = _body(b, x, blocks or BLOCKS[depth], widths, slope)
    x = b.norm("bn1", x, widths[-1])
    x = b.node("Dropout", "dropout0", x, ratio=0.4)
    side = size
    for _ in widths:
        side = (side - 1) // 2 + 1
    n = widths[-1] * side * side
    x = b.node("Flatten", "flatten_pre_fc1", x)
    weight = (rand.standard_normal((dim, n)) / n**0.5).astype(np.float32)
    bias = b.constant("pre_fc1_bias", b.uniform(-0.1, 0.1, dim))
    x = b.node(
        "Gemm", "pre_fc1", x, b.constant("pre_fc1_weight", weight), bias, alpha=1.0, beta=1.0, transA=0, transB=1
    )
    x = b.norm("fc1", x, dim)
    model = b.model("mxnet_converted_model", x, size, dim, 8, 1)
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    for tensor in b.constants:
        kind = kinds[numpy_helper.to_array(tensor).dtype]
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, kind, list(tensor.dims)))
    return model
