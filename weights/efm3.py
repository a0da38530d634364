"""MobileFaceNets from a PyTorch state dict or an ONNX file, and EFM3 files (docs/formats.md) of them.

Names do not matter: the layers are taken in the order of the file, and what they are follows from their shapes. A state
dict has no strides, so there the network must have the paper's row of expansions, whose strides are known; an ONNX file
says them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from msgspec import Struct

from vultus.weights.errors import ImportFailed
from vultus.weights.float_graph import HOMOGENEOUS, Convolution, FloatGraph
from vultus.weights.state_graph import EPSILON, Weights

Array = npt.NDArray[Any]

_PAPER = ((2, 5, 2), (4, 1, 2), (2, 6, 1), (4, 1, 2), (2, 2, 1))
"""(expansion, blocks, stride of the first block) of each stage."""
_MOST_STAGES = 8
_BEYOND = frozenset({"Gemm", "MatMul", "Sub", "Sigmoid", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"})
"""Operators with which a graph is another network, though its convolutions were a MobileFaceNet's."""


class Layer(Struct, frozen=True, eq=False):
    """A convolution without bias, its batch norm, and the slopes of the PReLU behind it, if there is one."""

    weight: Array
    """(c_out, c_in / groups, height, width) float32."""
    norm: Array
    """(4, c_out) float32: weight, bias, running mean, running variance."""
    slope: Array | None
    stride: int | None = None
    """None where the file does not say it."""

    @property
    def depthwise(self) -> bool:
        """One input channel for each output channel."""
        return bool(self.weight.shape[1] == 1)


class Network(Struct, frozen=True, eq=False):
    """A MobileFaceNet; that its layers fit each other has been seen."""

    layers: Sequence[Layer]
    stages: Sequence[tuple[int, int, int]]
    """(expansion, blocks, stride of the first block) of each."""
    stem_stride: int
    block: int
    """Channels of all stages but the first, which has the stem's."""

    @property
    def kernel(self) -> tuple[int, int]:
        """(height, width) of the depthwise convolution that sees the whole picture."""
        height, width = self.layers[-2].weight.shape[2:]
        return height, width

    @property
    def pixels(self) -> tuple[int, int]:
        """(height, width) of the picture: 112 where that fits the kernel, otherwise as many as it sees after all strides."""
        shrinks = self.stem_stride * math.prod(stride for _, _, stride in self.stages)
        height, width = (112 if -(-112 // shrinks) == side else side * shrinks for side in self.kernel)
        return height, width

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Channels of stem, blocks and final convolution, and the numbers of the embedding."""
        stem, final, dim = (len(self.layers[at].weight) for at in (0, -3, -1))
        return stem, self.block, final, dim

    def tensors(self) -> Iterator[Array]:
        """Of each layer its weights, the four rows of its norm, and its slopes if it has any: EFM3's order."""
        for layer in self.layers:
            yield layer.weight
            yield from layer.norm
            if layer.slope is not None:
                yield layer.slope


class _Block(Struct, frozen=True):
    expansion: int
    channels: int
    stride: int | None


def from_state(weights: Weights) -> Network:
    """The MobileFaceNet of a state dict. Raises ImportFailed, which says what is not as in one."""
    return _network(list(_layers_of_state(weights)))


def from_onnx(model: onnx.ModelProto) -> Network:
    """The MobileFaceNet of a graph, batch norms folded or not. Raises ImportFailed."""
    _expect_pixels({entry.key: entry.value for entry in model.metadata_props})
    others = sorted({node.op_type for node in model.graph.node} & _BEYOND)
    if others:
        raise ImportFailed(f"EFM3 has no {' or '.join(others)}")
    return _network(list(_layers_of_graph(FloatGraph(model))))


def _expect_pixels(says: dict[str, str]) -> None:
    """Refuse a graph that says it takes other pixels than an EFM3 network always does."""
    for key, wanted in (("mean", 127.5), ("std", 128.0)):
        text = says.get(f"vultus.{key}")
        if text is not None and any(float(value) != wanted for value in text.split(",")):
            raise ImportFailed(f"EFM3 networks take (pixel - 127.5) / 128, and this one has the {key} {text}")
    if says.get("vultus.colour", "rgb") != "rgb":
        raise ImportFailed("EFM3 networks take red first, and this one blue")


def is_mobilefacenet(weights: Weights) -> bool:
    """Whether a state dict begins as a MobileFaceNet does: a 3x3 convolution of colours, then a depthwise one."""
    shapes = [array.shape for array in weights.values() if array.ndim == 4][:2]
    return len(shapes) == 2 and shapes[0][1:] == (3, 3, 3) and shapes[1] == (shapes[0][0], 1, 3, 3)


def _layers_of_state(weights: Weights) -> Iterator[Layer]:
    """Layers in the order of the file, up to the first that has no batch norm: the classifier it was trained with."""
    modules: dict[str, dict[str, Array]] = {}
    for name, array in weights.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = array
    kinds = [(name, parts, _kind(parts)) for name, parts in modules.items()]
    for at, (name, parts, kind) in enumerate(kinds):
        if kind != "convolution":
            continue
        if at + 1 == len(kinds) or kinds[at + 1][2] != "norm":
            return
        weight = (
            parts["weight"].reshape(*parts["weight"].shape, 1, 1)[..., :1, :1]
            if parts["weight"].ndim == 2
            else parts["weight"]
        )
        c_out = len(weight)
        follows = kinds[at + 1][1]
        norm = np.stack([follows.get(part, default) for part, default in _norm_parts(c_out)])
        norm[2] -= parts.get("bias", np.zeros(c_out, np.float32))
        slope = kinds[at + 2][1]["weight"] if at + 2 < len(kinds) and kinds[at + 2][2] == "slope" else None
        if norm.shape != (4, c_out) or (slope is not None and slope.size not in (1, c_out)):
            raise ImportFailed(f"the batch norm or PReLU behind {name} has another number of channels")
        yield Layer(weight, norm, None if slope is None else np.broadcast_to(slope, c_out).copy())


def _norm_parts(c_out: int) -> tuple[tuple[str, Array], ...]:
    ones, zeros = np.ones(c_out, np.float32), np.zeros(c_out, np.float32)
    return (("weight", ones), ("bias", zeros), ("running_mean", zeros), ("running_var", ones))


def _kind(parts: dict[str, Array]) -> str:
    if "running_mean" in parts:
        return "norm"
    weight = parts.get("weight")
    if weight is None:
        return "nothing"
    return {4: "convolution", 2: "convolution", 1: "slope"}.get(weight.ndim, "nothing")


def _layers_of_graph(graph: FloatGraph) -> Iterator[Layer]:
    consumers = graph.consumers()
    for conv in graph.convolutions:
        c_out = len(conv.bias)
        behind = [node for node in consumers.get(conv.node.output[0], []) if node.op_type in HOMOGENEOUS | {"Clip"}]
        slope = None
        if behind and behind[0].op_type != "PRelu":
            raise ImportFailed(f"{behind[0].op_type} follows a convolution where EFM3 has PReLU")
        if behind:
            given = graph.constants.get(behind[0].input[1])
            if given is None or given.size not in (1, c_out):
                raise ImportFailed("a PReLU's slopes are not constants, one for each channel")
            slope = np.broadcast_to(given.reshape(-1), c_out).astype(np.float32)
        norm = np.stack([np.ones(c_out), conv.bias, np.zeros(c_out), np.full(c_out, 1 - EPSILON)]).astype(np.float32)
        if conv.strides[0] != conv.strides[1] or max(conv.dilations) > 1 or (conv.groups > 1 and not conv.depthwise):
            raise ImportFailed(
                f"the convolution {conv.node.output[0]} has strides, dilations or groups that EFM3 has not"
            )
        _expect_pads(conv)
        yield Layer(conv.weight.astype(np.float32), norm, slope, conv.strides[0])


def _expect_pads(conv: Convolution) -> None:
    """EFM3 pads 3x3 kernels by one on each side, and no others."""
    pad = 1 if conv.weight.shape[2:] == (3, 3) else 0
    if conv.pads != [pad] * 4:
        raise ImportFailed(
            f"the convolution {conv.node.output[0]} is padded by {conv.pads} (top, left, bottom, right) where EFM3 has "
            f"{pad} on each side; Keras's padding 'same' is so at stride 2"
        )


def _network(layers: list[Layer]) -> Network:
    if len(layers) < 8 or (len(layers) - 5) % 3:
        raise ImportFailed(f"a MobileFaceNet has 5 layers and 3 for each block; these are {len(layers)}")
    stem, stem_depthwise, *middle = layers[:-3]
    final, whole, projection = layers[-3:]
    _expect(stem, "stem", (None, 3, 3, 3), slope=True)
    _expect(stem_depthwise, "dw_stem", (len(stem.weight), 1, 3, 3), slope=True)
    blocks, channels = [], len(stem.weight)
    for at in range(0, len(middle), 3):
        blocks.append(_block(middle[at : at + 3], f"block {at // 3}", channels))
        channels = blocks[-1].channels
    _expect(final, "final_conv", (None, channels, 1, 1), slope=True)
    _expect(whole, "gdconv", (len(final.weight), 1, None, None), slope=False)
    _expect(projection, "embed_proj", (None, len(final.weight), 1, 1), slope=False)
    return Network(layers, _stages(blocks, len(stem.weight)), stem.stride or 2, channels)


def _expect(layer: Layer, name: str, shape: Sequence[int | None], *, slope: bool) -> None:
    wanted = tuple(found if asked is None else asked for asked, found in zip(shape, layer.weight.shape, strict=False))
    if layer.weight.shape != wanted or layer.weight.ndim != len(shape):
        raise ImportFailed(f"{name} has weights of the shape {layer.weight.shape}, not as in a MobileFaceNet")
    if (layer.slope is not None) != slope:
        raise ImportFailed(f"{name} {'lacks' if slope else 'has'} a PReLU")


def _block(layers: Sequence[Layer], name: str, channels: int) -> _Block:
    expand, depthwise, project = layers
    wide = len(expand.weight)
    _expect(expand, f"{name}, expand", (None, channels, 1, 1), slope=True)
    _expect(depthwise, f"{name}, dw", (wide, 1, 3, 3), slope=True)
    _expect(project, f"{name}, project", (None, wide, 1, 1), slope=False)
    if wide % channels:
        raise ImportFailed(f"{name} widens {channels} channels to {wide}, which is no multiple")
    return _Block(wide // channels, len(project.weight), depthwise.stride)


def _stages(blocks: Sequence[_Block], stem: int) -> list[tuple[int, int, int]]:
    """(expansion, blocks, stride of the first) of each stage; the first keeps the stem's channels, all others share theirs."""
    if all(block.stride is None for block in blocks):
        wanted = [expansion for expansion, count, _ in _PAPER for _ in range(count)]
        if [block.expansion for block in blocks] != wanted:
            raise ImportFailed(
                "a checkpoint says no strides, and only those of the paper's network are known; export it to ONNX"
            )
        stages = list(_PAPER)
    else:
        stages = []
        for at, block in enumerate(blocks):
            stride = block.stride or 1
            begins = (
                not at or stride > 1 or block.expansion != stages[-1][0] or block.channels != blocks[at - 1].channels
            )
            stages += [(block.expansion, 0, stride)] if begins else []
            expansion, count, first = stages[-1]
            stages[-1] = (expansion, count + 1, first)
    if len(stages) > _MOST_STAGES:
        raise ImportFailed(f"{len(stages)} stages; EFM3 has {_MOST_STAGES} at most")
    kept = stages[0][1]
    if any(block.channels != stem for block in blocks[:kept]) or len({block.channels for block in blocks[kept:]}) > 1:
        raise ImportFailed("its blocks' channels are not the stem's in the first stage and the same in all others")
    return stages


def pack(network: Network) -> bytes:
    """EFM3 version 3: header, its copy in JSON for people, tensors. Raises ImportFailed for pictures of another size."""
    (height, width), (side, other) = network.pixels, network.kernel
    if (height, width) != (112, 112):
        raise ImportFailed(
            f"its last depthwise kernel is {side}x{other}, for pictures of {height}x{width}; EFM3 is for 112x112 only: "
            "give the new file a name that ends in .onnx"
        )
    sizes = network.sizes
    fixed = struct.pack("<BBBBHHHHB3x", 1, len(network.stages), 3, network.stem_stride, *sizes, side)
    fixed += b"".join(struct.pack("<BBBBI", *stage, 0, 0) for stage in network.stages)
    names = dict(zip(("stem", "block", "final", "dim"), sizes, strict=True))
    header = {**names, "kernel": side, "stem_stride": network.stem_stride, "stages": network.stages}
    text = json.dumps(header).encode()
    tensors = list(network.tensors())
    parts = [b"EFM3", struct.pack("<I", 3), fixed.ljust(80, b"\0"), struct.pack("<I", len(text)), text]
    parts.append(struct.pack("<I", len(tensors)))
    for tensor in tensors:
        data = np.ascontiguousarray(tensor, "<f4").tobytes()
        parts += [struct.pack("<I", len(data)), data]
    return b"".join(parts)
