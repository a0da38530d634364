"""The three networks of MTCNN from PyTorch state dicts to ONNX.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 23 (2016). Names are those of facenet-pytorch, which carries the authors' weights: P-Net looks
at a picture of any size in windows of 12 pixels, R-Net at faces of 24×24, O-Net at faces of 48×48.

What comes out: `scores`, the probability of a face; `boxes`, how far the window's left, top, right and bottom edge are from
the face's, in shares of its sides; and of O-Net `points`, five x and then five y in shares of the window from its upper left
corner. P-Net's are maps `(n, 1, h, w)` and `(n, 4, h, w)`, the others' vectors.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from vultus.weights.errors import ImportFailed
from vultus.weights.state_graph import StateGraph, Weights

Net = Literal["P-Net", "R-Net", "O-Net"]

_LAYERS: dict[Net, tuple[tuple[str, int], ...]] = {
    "P-Net": (("conv1", 2), ("conv2", 0), ("conv3", 0)),
    "R-Net": (("conv1", 3), ("conv2", 3), ("conv3", 0)),
    "O-Net": (("conv1", 3), ("conv2", 3), ("conv3", 2), ("conv4", 0)),
}
"""Convolutions without padding, each with a PReLU, and the side of the pooling of stride 2 behind it."""
_SIDES: dict[Net, int | None] = {"P-Net": None, "R-Net": 24, "O-Net": 48}
_DENSE: dict[Net, str] = {"R-Net": "dense4", "O-Net": "dense5"}
_HEADS: dict[Net, tuple[str, ...]] = {
    "P-Net": ("conv4_1", "conv4_2"),
    "R-Net": ("dense5_1", "dense5_2"),
    "O-Net": ("dense6_1", "dense6_2", "dense6_3"),
}
_OUTPUTS = {"scores": 1, "boxes": 4, "points": 10}


def net_of(weights: Weights) -> Net | None:
    """Which of the three networks' names these are; none: another network's."""
    return next((net for net, heads in _HEADS.items() if all(f"{head}.weight" in weights for head in heads)), None)


def to_onnx(weights: Weights) -> bytes:
    """The ONNX file of a state dict, which says by its names whose it is. Raises ImportFailed for other weights."""
    net = net_of(weights)
    if net is None:
        raise ImportFailed("not the weights of a network of MTCNN, as facenet-pytorch names them")
    graph = StateGraph(weights)
    x, depth = "data", 0
    for number, (name, pool) in enumerate(_LAYERS[net], start=1):
        x = graph.prelu(graph.valid_conv(x, name), f"prelu{number}")
        depth = len(graph.weight(f"{name}.bias", 1))
        if pool:
            x = graph.node("MaxPool", x, kernel_shape=[pool] * 2, strides=[2, 2], ceil_mode=1)
    if net != "P-Net":
        x = _dense(graph, x, _DENSE[net], depth)
        x = graph.prelu(x, f"prelu{len(_LAYERS[net]) + 1}", flat=True)
    rank: list[int | str] = ["h", "w"] if net == "P-Net" else []
    shapes: dict[str, list[int | str]] = {}
    for head, (output, numbers) in zip(_HEADS[net], _OUTPUTS.items(), strict=False):
        _head(graph, x, head, output, numbers)
        shapes[output] = ["n", numbers, *rank]
    side = _SIDES[net]
    return graph.data(net, side or "height", side or "width", shapes, colour="rgb", mean="127.5", std="128")


def _dense(graph: StateGraph, x: str, name: str, depth: int) -> str:
    """The fully connected layer that reads a map; it was trained column by column, with the channels innermost."""
    weight = graph.weight(f"{name}.weight", 2)
    side = round((weight.shape[1] / depth) ** 0.5)
    if depth * side * side != weight.shape[1]:
        raise ImportFailed(f"{name}.weight has the shape {weight.shape}, which does not fit {depth} channels")
    planes = weight.reshape(-1, side, side, depth).transpose(0, 3, 2, 1).reshape(weight.shape)
    return _linear(graph, graph.node("Flatten", x), name, np.ascontiguousarray(planes), graph.weight(f"{name}.bias", 1))


def _head(graph: StateGraph, x: str, name: str, output: str, numbers: int) -> None:
    """One output. Of two classes the softmax is the sigmoid of what they differ by."""
    convolution = name.startswith("conv")
    weight, bias = graph.weight(f"{name}.weight", 4 if convolution else 2), graph.weight(f"{name}.bias", 1)
    if len(weight) != (2 if output == "scores" else numbers) or len(bias) != len(weight):
        raise ImportFailed(f"{name} makes {len(weight)} numbers, not those of {output}")
    if output != "scores":
        _linear(graph, x, name, weight, bias, output)
        return
    face = _linear(graph, x, name, weight[1:] - weight[:1], bias[1:] - bias[:1])
    graph.node("Sigmoid", face, name=output)


def _linear(
    graph: StateGraph,
    x: str,
    name: str,
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    output: str = "",
) -> str:
    inputs = (graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias))
    if weight.ndim == 4:
        return graph.node("Conv", x, *inputs, name=output, kernel_shape=list(weight.shape[2:]))
    return graph.node("Gemm", x, *inputs, name=output, transB=1)
