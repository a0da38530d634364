"""Channels of one value made equally wide, so that one scale suits them all; the network computes what it did.

Division of a channel by s > 0 passes through PReLU and addition: the convolutions that make the value are divided, those
that read it multiplied ("cross-layer equalisation", Nagel et al., 2019, arXiv:1906.04721).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vultus.weights.float_graph import HOMOGENEOUS, Array, Convolution, FloatGraph

STRENGTH = 0.5
"""Of the way from ranges as they are to equal ones: what a value's channels gain, the weights of its readers lose."""
LEAST = 1e-3
"""A channel counts as no narrower than this, relative to the widest."""


def equalise(graph: FloatGraph, widths: Mapping[str, Array]) -> dict[str, Array]:
    """Change the graph's weights; `widths` is the largest magnitude of each channel of values that become bytes.

    Returns by what each value's channels were divided, of those that were.
    """
    convolutions = {conv.node.output[0]: conv for conv in graph.convolutions}
    divided: dict[str, Array] = {}
    for values in _alike(graph):
        known = [widths[name] for name in values if name in widths]
        if not known or not _movable(graph, values):
            continue
        width = np.maximum.reduce(known)
        if not width.max() > 0:
            continue
        factor = np.maximum(width / width.max(), LEAST) ** STRENGTH
        for name in values:
            divided[name] = factor
            if name in convolutions:
                _divide(convolutions[name], factor)
        for conv in graph.convolutions:
            if conv.node.input[0] in values:
                conv.weight = conv.weight * (
                    factor[:, None, None, None] if conv.depthwise else factor[None, :, None, None]
                )
    return divided


def _divide(conv: Convolution, factor: Array) -> None:
    conv.weight = conv.weight / factor[:, None, None, None]
    conv.bias = conv.bias / factor


def _alike(graph: FloatGraph) -> list[set[str]]:
    """Values that have to be scaled alike, since activations and additions join them."""
    group: dict[str, set[str]] = {}
    for node in graph.nodes:
        joined = {node.output[0]}
        if node.op_type in HOMOGENEOUS:
            joined.add(node.input[0])
        elif node.op_type == "Add":
            joined.update(node.input)
        merged = set().union(joined, *(group.get(name, set()) for name in joined))
        for name in merged:
            group[name] = merged
    return list({id(names): names for names in group.values()}.values())


def _movable(graph: FloatGraph, values: set[str]) -> bool:
    """Whether only convolutions make the values and only convolutions read them."""
    producers, consumers = graph.producers(), graph.consumers()
    for name in values:
        maker = producers.get(name)
        if maker is None or name in graph.outputs or maker.op_type not in {"Conv", "Add", *HOMOGENEOUS}:
            return False
        for reader in consumers.get(name, []):
            if reader.op_type == "Conv":
                conv = next(each for each in graph.convolutions if each.node is reader)
                if conv.groups != 1 and not conv.depthwise:
                    return False
            elif reader.op_type not in {"Add", *HOMOGENEOUS}:
                return False
    return True
