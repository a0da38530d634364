"""Importer for ONNX files with block-quantised weights: folds them into the plain FP32 graph they stand for.

The files of OpenCV's model zoo keep each weight as int8 blocks (`DequantizeLinear` with `block_size`, then `Reshape`),
which ONNX Runtime 1.31 refuses and our engine has no use for. Folding computes exactly what the graph says,
`(q - zero_point) * scale` in FP32: the difference of two int8 is exact and the product is rounded once, so every
machine gets the same bits, and the manifest can state the SHA-256 of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from vultus.weights.errors import ImportFailed

Array = npt.NDArray[Any]


def fold(data: bytes, *, metadata: Mapping[str, str], free_size: bool) -> bytes:
    """An ONNX file whose constants are all FP32 initialisers, as bytes that depend on nothing but the arguments.

    The batch becomes free, and with `free_size` height and width too (detectors; any size that the graph's own strides
    divide). `metadata` goes into the file's `metadata_props`, where the engine reads the normalisation.
    Raises ImportFailed for a graph that is damaged or quantised in another way.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError: its class depends on the protobuf build behind onnx
        raise ImportFailed(f"not an ONNX file ({error})") from error
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = _fold_nodes(graph, constants)
    _free_batch(nodes, constants)

    # The files also list their weights as inputs, some under names that no node reads any more.
    read = {name for node in nodes for name in node.input}
    inputs = [value for value in graph.input if value.name in read and value.name not in constants]
    for value in inputs:
        _free_dims(value, ("n", None, "height", "width") if free_size else ("n",))
    for value in graph.output:
        _free_dims(value, ("n", "") if free_size else ("n",))
    used = dict.fromkeys(name for node in nodes for name in node.input if name in constants)
    initialisers = [numpy_helper.from_array(constants[name], name) for name in used]

    folded = onnx.helper.make_graph(nodes, graph.name, inputs, list(graph.output), initialisers)
    result = onnx.helper.make_model(folded, opset_imports=model.opset_import, ir_version=model.ir_version)
    result.producer_name = "vultus"
    onnx.helper.set_model_props(result, dict(sorted(metadata.items())))
    onnx.checker.check_model(result)
    return bytes(result.SerializeToString(deterministic=True))


def _fold_nodes(graph: onnx.GraphProto, constants: dict[str, Array]) -> list[onnx.NodeProto]:
    """The nodes that are left when all that is constant was computed into `constants`; in the graph's order."""
    renamed: dict[str, str] = {}
    left = []
    for node in graph.node:
        names = [renamed.get(name, name) for name in node.input]
        known = [constants.get(name) for name in names]
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(_attribute(node, "value"))
        elif node.op_type == "Dropout":  # does nothing when a network is used rather than trained
            renamed[node.output[0]] = names[0]
        elif node.op_type == "DequantizeLinear":
            constants[node.output[0]] = _dequantise(node, known)
        elif node.op_type == "Reshape" and known[0] is not None and known[1] is not None:
            constants[node.output[0]] = known[0].reshape([int(size) for size in known[1]])
        else:
            kept = onnx.NodeProto()
            kept.CopyFrom(node)
            kept.ClearField("input")
            kept.input.extend(names)
            left.append(kept)
    return left


def _dequantise(node: onnx.NodeProto, known: list[Array | None]) -> Array:
    """Operator DequantizeLinear of ONNX 21 on constants: one scale and zero point for `block_size` values on `axis`."""
    quantised, scale = known[0], known[1]
    zero = known[2] if len(known) > 2 else None
    if quantised is None or scale is None or (len(known) > 2 and zero is None):
        raise ImportFailed(f"{node.name or node.output[0]}: quantised activations are not supported, only weights")
    if scale.dtype != np.float32 or quantised.dtype not in (np.int8, np.uint8):
        raise ImportFailed(f"{node.output[0]}: {quantised.dtype} values with {scale.dtype} scales are not supported")
    axis = int(_attribute(node, "axis", 1))
    block = int(_attribute(node, "block_size", 0))
    if block:
        blocks = -(-quantised.shape[axis] // block)
        if scale.ndim != quantised.ndim or scale.shape[axis] != blocks:
            raise ImportFailed(f"{node.output[0]}: scales {scale.shape} for blocks of {block} in {quantised.shape}")
        scale = _spread(scale, block, axis, quantised.shape[axis])
        zero = None if zero is None else _spread(zero, block, axis, quantised.shape[axis])
    elif scale.ndim == 1 and quantised.ndim > 0:
        shape = [1] * quantised.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
        zero = None if zero is None else zero.reshape(shape)
    steps = quantised.astype(np.int32) - (0 if zero is None else zero.astype(np.int32))
    return np.multiply(steps.astype(np.float32), scale, dtype=np.float32)


def _spread(values: Array, block: int, axis: int, length: int) -> Array:
    """Each value repeated for its block; the last block may be short."""
    return np.repeat(values, block, axis=axis).take(np.arange(length), axis=axis)


def _free_batch(nodes: list[onnx.NodeProto], constants: dict[str, Array]) -> None:
    """Reshapes to `[1, …]` were written down for one picture; 0 there means as many as come in."""
    for node in nodes:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = constants[node.input[1]].copy()
            if shape.size > 1 and shape[0] == 1:
                shape[0] = 0
                constants[node.input[1]] = shape


def _free_dims(value: onnx.ValueInfoProto, names: tuple[str | None, ...]) -> None:
    """Name the leading dimensions instead of fixing them; None leaves one as it is, "" makes it nameless."""
    for dim, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
        if name is not None:
            dim.Clear()
            if name:
                dim.dim_param = name


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    if default is None:
        raise ImportFailed(f"{node.op_type} {node.name or node.output[0]}: no attribute {name}")
    return default
