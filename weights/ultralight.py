"""The slim Ultra-Light detectors from a PyTorch state dict to ONNX.

Network and names are those of Linzaer's `vision/nn/mb_tiny.py` and `vision/ssd/mb_tiny_fd.py`: a convolution and twelve
pairs of a depthwise and a pointwise one; heads behind the layers at the strides 8, 16, 32 and 64, the last of which a few
layers of its own lead to. What comes out is what `onnx_heads.cut` makes of the published ONNX files: any input size, and
`vultus.native.decode_ultralight` computes boxes from it.
"""

from __future__ import annotations

import numpy as np

from vultus.weights.errors import ImportFailed
from vultus.weights.state_graph import StateGraph, Weights

_STRIDES = (2, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1, 2, 1)
"""Of the convolutions of `base_net`."""
_HEADS_BEHIND = (7, 10, 12)
"""Layers of `base_net` whose values are at the strides 8, 16 and 32."""


def is_ultralight(weights: Weights) -> bool:
    """Whether the names are those of an Ultra-Light detector."""
    return "classification_headers.0.0.weight" in weights and "base_net.0.0.weight" in weights


def to_onnx(weights: Weights) -> bytes:
    """The ONNX file of a slim detector's state dict: `scores` `(n, rows, 2)` and `locations` `(n, rows, 4)`.

    Raises ImportFailed for the weights of another network; the RFB kind is one, published as ONNX by its makers.
    """
    graph = StateGraph(weights)
    if not graph.has("base_net.7.3.weight"):
        raise ImportFailed("not a slim Ultra-Light detector; the RFB kind is published as ONNX, which is read as it is")
    x = graph.node("Relu", graph.norm(graph.conv("data", "base_net.0.0", stride=2), "base_net.0.1"))
    rows: dict[str, list[str]] = {"classification": [], "regression": []}
    for layer, stride in enumerate(_STRIDES[1:], start=1):
        name = f"base_net.{layer}"
        x = graph.conv(x, f"{name}.0", stride=stride, depthwise=True)
        x = graph.node("Relu", graph.norm(x, f"{name}.1"))
        x = graph.node("Relu", graph.norm(graph.conv(x, f"{name}.3"), f"{name}.4"))
        if layer in _HEADS_BEHIND:
            for kind, found in rows.items():
                found.append(_rows(graph, _separable(graph, x, f"{kind}_headers.{len(found)}"), kind))
    x = graph.node("Relu", graph.conv(x, "extras.0.0"))
    x = graph.node("Relu", _separable(graph, x, "extras.0.2", stride=2))
    for kind, found in rows.items():
        found.append(_rows(graph, graph.conv(x, f"{kind}_headers.{len(found)}"), kind))
    scores = graph.node("Concat", *rows["classification"], axis=1)
    graph.node("Softmax", scores, name="scores", axis=2)
    graph.node("Concat", *rows["regression"], name="locations", axis=1)
    shapes: dict[str, list[int | str]] = {"scores": ["n", "rows", 2], "locations": ["n", "rows", 4]}
    return graph.data("ultralight", "height", "width", shapes, colour="rgb", mean="127", std="128")


def _separable(graph: StateGraph, x: str, name: str, stride: int = 1) -> str:
    x = graph.node("Relu", graph.conv(x, f"{name}.0", stride=stride, depthwise=True))
    return graph.conv(x, f"{name}.2")


def _rows(graph: StateGraph, x: str, kind: str) -> str:
    """(n, boxes * columns, h, w) to a row for each box, (n, h * w * boxes, columns)."""
    shape = graph.constant(f"rows.{kind}", np.array([0, -1, 2 if kind == "classification" else 4]))
    return graph.node("Reshape", graph.node("Transpose", x, perm=[0, 2, 3, 1]), shape)
