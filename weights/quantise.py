"""From an FP32 embedder to an INT8 one: EFM3 to EFM3 version 4, ONNX to ONNX with QuantizeLinear and DequantizeLinear.

Weights become whole steps, -127..127, with a step for each output channel. What convolutions in bytes read (pointwise ones
and depthwise 3x3) becomes 0..255 with a scale and a zero point for the value; what blocks add up stays floats, and so do
the first convolution's input and the last layers, whose weights alone are rounded, and of the others those few that
`sensitivity` finds to move the answers most.
"""

from __future__ import annotations

import struct
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
from onnx import helper

from vultus.weights import mobilefacenet, onnx_check, rounding, sensitivity
from vultus.weights.activations import Chips, Moments, Progress, Range, measure, widths
from vultus.weights.equalise import equalise
from vultus.weights.errors import ImportFailed
from vultus.weights.float_graph import Convolution, FloatGraph

_EFM3 = b"EFM3"
_COLUMN_PAIRS = (0, 6, 1, 7, 2, 8, 3, 4, 5)
"""Taps of a depthwise 3x3 in the order of rounding: the first and the last row are pairs, the middle one has no partner."""
_CONVERSION = 4
"""Multiply-adds that take as long as to make a byte of a number, or a number of a byte."""
_PER_AXIS = 13
"""The first opset whose DequantizeLinear has one scale for each channel."""


def declared(data: bytes, *, mean: str | None = None, std: str | None = None) -> bytes:
    """The file with the normalisation that it lacks written into it; as it is where nothing is given.

    Raises ImportFailed for a file that says already what it wants.
    """
    given = {key: value for key, value in (("vultus.mean", mean), ("vultus.std", std)) if value is not None}
    if not given:
        return data
    if data[:4] == _EFM3:
        raise ImportFailed("an EFM3 network always takes (pixel - 127.5) / 128")
    model = onnx.load_from_string(data)
    known = {entry.key: entry.value for entry in model.metadata_props}
    if any(key in known for key in given):
        raise ImportFailed(f"the file says its own normalisation: {known}")
    helper.set_model_props(model, {**known, **given})
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class Rounded:
    """Weights of a convolution: (c_out, c_in / groups, height, width) int8 times (c_out,), and the bias (c_out,) float32."""

    steps: npt.NDArray[np.int8]
    step: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def quantise(data: bytes, chips: Chips, progress: Progress | None = None, *, goal: float = 0.0) -> bytes:
    """The INT8 file for an FP32 one that the engine opens.

    Args:
        data: EFM3 version 3, or ONNX.
        chips: (n, height, width, 3) uint8 BGR, aligned faces as the network will see them; a few dozen people at least.
        progress: called with what is happening, and the share of it that is done.
        goal: cosine to FP32, 0..1, that the worst of the chips is to have: the convolutions that move the answers most
            are left in floats until it has, up to half of the arithmetic. With 0 none is, and none is measured.

    Raises ImportFailed for a network that is quantised already, or has no convolution that the engine computes from bytes.
    """

    def report(step: str, share: float) -> None:
        if progress is not None:
            progress(step, share)

    efm3 = data[:4] == _EFM3
    if efm3 and struct.unpack_from("<I", data, 4)[0] != 3:
        raise ImportFailed("the network is quantised already")
    graph = FloatGraph(mobilefacenet.from_efm3(data) if efm3 else _recent(onnx.load_from_string(data)))
    if not graph.byte_values():
        raise ImportFailed("no convolution in it is one that the engine computes from bytes (1x1, or depthwise 3x3)")
    report("ranges", 0.0)
    widest = widths(graph, chips)
    divided = equalise(graph, widest)
    most = {name: float((width / divided.get(name, 1.0)).max()) for name, width in widest.items()}
    report("moments", 0.2)
    ranges, moments = measure(graph, most, chips)
    made = _Quantised(graph, ranges, moments)
    for i, conv in enumerate(graph.convolutions):
        report("rounding", 0.4 + 0.2 * i / len(graph.convolutions))
        made.weights(conv, in_bytes=True)

    def written(floats: Set[str]) -> bytes:
        return _efm3(data, made, floats) if efm3 else _qdq(made, floats)

    if goal == 0:
        report("ready", 1.0)
        return written(frozenset())
    left_out = sensitivity.in_floats(
        {conv.node.output[0]: _cost(conv, moments[conv.node.output[0]]) for conv in made.candidates},
        lambda name: _qdq(made, made.names - {name}, rounded={name}),
        written,
        chips,
        sensitivity.vectors(data, chips),
        goal,
        lambda share: report("sensitivity", 0.6 + 0.4 * share),
    )
    report("ready", 1.0)
    return written(left_out)


def _cost(conv: Convolution, moments: Moments) -> float:
    """Of a convolution in floats, about as many multiply-adds as it takes, conversions before and after it included."""
    channels = conv.weight.shape[0] if conv.depthwise else sum(conv.weight.shape[:2])
    return moments.pixels * (float(conv.weight.size) + _CONVERSION * channels)


def _recent(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in an opset that has a scale for each channel; the ONNX Model Zoo's ArcFace is of opset 8."""
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset >= _PER_AXIS:
        return model
    try:
        return onnx_check.modern(model)
    except (onnx.version_converter.ConvertError, RuntimeError) as error:
        raise ImportFailed(f"the graph is of opset {opset}, and cannot be brought to a later one: {error}") from error


class _Quantised:
    """A network's weights as whole steps, for kernels of bytes and for floats, each computed when first wanted."""

    def __init__(self, graph: FloatGraph, ranges: dict[str, Range], moments: dict[str, Moments]) -> None:
        self.graph, self.ranges = graph, ranges
        self._moments = moments
        self.candidates = [conv for conv in graph.convolutions if conv.node.output[0] in moments]
        self.names = frozenset(conv.node.output[0] for conv in self.candidates)
        self._done: dict[tuple[str, bool], Rounded] = {}

    def range(self, conv: Convolution, floats: Set[str]) -> Range | None:
        """Of the convolution's input, if it is one in bytes."""
        name = conv.node.output[0]
        return self.ranges[conv.node.input[0]] if name in self.names and name not in floats else None

    def weights(self, conv: Convolution, *, in_bytes: bool) -> Rounded:
        """`in_bytes`: they have to fit the kernels that multiply pairs."""
        key = (conv.node.output[0], in_bytes)
        if key not in self._done:
            self._done[key] = _round(conv, self._moments.get(key[0]), paired=in_bytes)
        return self._done[key]


def _round(conv: Convolution, moments: Moments | None, *, paired: bool) -> Rounded:
    shape, rows = conv.weight.shape, conv.weight.reshape(len(conv.weight), -1)
    bias = conv.bias
    if moments is None:
        steps, step = rounding.plain(rows)
    elif conv.depthwise:
        order = list(_COLUMN_PAIRS)
        covariance = moments.covariance[:, order][:, :, order]
        ordered, step = rounding.compensated(rows[:, order], covariance, paired=6 if paired else 0)
        steps = ordered[:, np.argsort(order)]
    else:
        steps, step = rounding.compensated(rows, moments.covariance, paired=rows.shape[1] if paired else 0)
    step32 = step.astype(np.float32)
    if moments is not None:  # what rounding does to the mean is known, and the bias takes it back
        change = steps * step32[:, None].astype(np.float64) - rows
        bias = bias - (change * moments.mean if conv.depthwise else change @ moments.mean[:, None]).sum(1)
    return Rounded(steps.reshape(shape), step32, bias.astype(np.float32))


def _efm3(data: bytes, made: _Quantised, floats: Set[str]) -> bytes:
    """EFM3 version 4 (docs/formats.md): header and JSON as they were, then the records of each convolution.

    The convolutions named in `floats` read floats.
    """
    consumers = made.graph.consumers()
    records: list[bytes] = []
    for conv in made.graph.convolutions:
        of = made.range(conv, floats)
        weights = made.weights(conv, in_bytes=of is not None)
        records.append(struct.pack("<fI", of.scale if of else 0.0, of.zero if of else 0))
        records += [weights.steps.tobytes(), weights.step.astype("<f4").tobytes(), weights.bias.astype("<f4").tobytes()]
        slopes = [node for node in consumers.get(conv.node.output[0], []) if node.op_type == "PRelu"]
        records += [made.graph.constants[node.input[1]].astype("<f4").tobytes() for node in slopes]
    end = 92 + struct.unpack_from("<I", data, 88)[0]
    parts = [_EFM3, struct.pack("<I", 4), data[8:end], struct.pack("<I", len(records))]
    parts += [struct.pack("<I", len(record)) + record for record in records]
    return b"".join(parts)


def _qdq(made: _Quantised, floats: Set[str], rounded: Set[str] | None = None) -> bytes:
    """ONNX: weights by DequantizeLinear, values that convolutions in bytes read by a QuantizeLinear and one of those.

    The convolutions named in `floats` read floats; `rounded` names those whose weights become steps, all by default.
    """
    graph = made.graph
    constants: dict[str, npt.NDArray[Any]] = dict(graph.constants)
    convolutions = {conv.node.output[0]: conv for conv in graph.convolutions}
    ranges = {conv.node.input[0]: made.range(conv, floats) for conv in made.candidates}
    for conv in made.candidates:  # a value may have readers of both kinds
        ranges[conv.node.input[0]] = ranges[conv.node.input[0]] or made.range(conv, floats)
    nodes: list[onnx.NodeProto] = []

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    for node in graph.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        out = node.output[0]
        if out in convolutions and (rounded is None or out in rounded):
            of = made.range(convolutions[out], floats)
            weights = made.weights(convolutions[out], in_bytes=of is not None)
            names = [f"{out}.steps", f"{out}.step", f"{out}.no_shift"]
            constants[names[0]], constants[names[1]] = weights.steps, weights.step
            constants[names[2]] = np.zeros(len(weights.step), np.int8)
            constants[copy.input[2]] = weights.bias
            copy.input[1] = add("DequantizeLinear", names, f"{out}.float_weight", axis=0)
            if of:
                copy.input[0] = f"{node.input[0]}.rounded"
        nodes.append(copy)
        if of := ranges.get(out):
            names = [f"{out}.scale", f"{out}.zero"]
            constants[names[0]] = np.array(of.scale, np.float32)
            constants[names[1]] = np.array(of.zero, np.uint8)
            byte = add("QuantizeLinear", [out, *names], f"{out}.byte")
            add("DequantizeLinear", [byte, *names], f"{out}.rounded")
    model = graph.assemble(nodes, constants)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
