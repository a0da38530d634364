"""iResNets, as MagFace and InsightFace train them, from a PyTorch state dict to ONNX.

The network is `iresnet18/34/50/100` of InsightFace's and MagFace's `models/iresnet.py`: a 3x3 convolution; blocks of batch
norm, 3x3 convolution, batch norm, PReLU, 3x3 convolution (with the stride), batch norm, added to their input (or to its
1x1 convolution and batch norm); batch norm, all numbers in a row, a linear layer, batch norm. The length of what comes
out is a MagFace embedding's magnitude (Meng et al., "MagFace: A Universal Representation for Face Recognition and Quality
Assessment", CVPR 2021), so it is not scaled to length 1 here; the engine does that on request.
"""

from __future__ import annotations

import re

from vultus.weights.errors import ImportFailed
from vultus.weights.state_graph import StateGraph, Weights

INPUT_SIDE = 112
_SIGN = re.compile(r"^(?P<prefix>(?:\w+\.)*?)layer1\.0\.bn1\.running_mean$")
_STAGES = 4


def prefix_of(weights: Weights) -> str | None:
    """What stands before the names of an iResNet's layers (`features.module.` in MagFace's files); none if it is none."""
    return next((found["prefix"] for name in weights if (found := _SIGN.match(name))), None)


def to_onnx(weights: Weights, *, mean: str, std: str, colour: str) -> bytes:
    """The ONNX file of an iResNet's state dict, `(n, 3, 112, 112)` to `(n, 512)`; normalisation goes into its metadata.

    Layers that the network does not use (the classifier that it was trained with) are left out. Raises ImportFailed for
    the weights of another network.
    """
    prefix = prefix_of(weights)
    if prefix is None:
        raise ImportFailed("the checkpoint is not an iResNet's: it has no layer1.0.bn1")
    graph = StateGraph(weights, prefix)
    x = graph.prelu(graph.norm(graph.conv("data", "conv1"), "bn1"), "prelu")
    for stage in range(1, _STAGES + 1):
        block = 0
        while graph.has(f"layer{stage}.{block}.conv1.weight"):
            x = _block(graph, x, f"layer{stage}.{block}", 1 if block else 2)
            block += 1
        if not block:
            raise ImportFailed(f"the checkpoint has no {prefix}layer{stage}.0.conv1.weight")
    x = graph.node("Flatten", graph.norm(x, "bn2"), axis=1)
    weight = graph.weight("fc.weight", 2)
    inputs = [graph.constant("fc.weight", weight)]
    if graph.has("fc.bias"):
        inputs.append(graph.constant("fc.bias", graph.weight("fc.bias", 1)))
    x = graph.node("Gemm", x, *inputs, transB=1)
    out = graph.node("Identity", graph.norm(x, "features"), name="embedding")
    return graph.data("iresnet", INPUT_SIDE, INPUT_SIDE, {out: ["n", len(weight)]}, colour=colour, mean=mean, std=std)


def _block(graph: StateGraph, x: str, name: str, stride: int) -> str:
    y = graph.conv(graph.norm(x, f"{name}.bn1"), f"{name}.conv1")
    y = graph.prelu(graph.norm(y, f"{name}.bn2"), f"{name}.prelu")
    y = graph.norm(graph.conv(y, f"{name}.conv2", stride=stride), f"{name}.bn3")
    if graph.has(f"{name}.downsample.0.weight"):
        x = graph.norm(graph.conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
    return graph.node("Add", y, x)
