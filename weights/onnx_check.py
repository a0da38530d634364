"""ONNX graphs from strangers, looked at before a runtime that trusts its input gets to see them.

The engine's own reader bounds everything itself; this is for ONNX Runtime, which takes the memory that a file asks for,
reads the files that it names, and folds constants while it opens it. So a file goes there only if nothing in it leads
elsewhere, and if the size of every value is known beforehand and within the engine's limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, TensorProto, shape_inference, version_converter

from vultus.native import ModelFormatError
from vultus.weights import onnx_contrib

MOST_BYTES = 2**31 - 1
MOST_NODES = 16_384
MOST_NUMBERS = 2**26
"""In one value, as in the engine."""
MOST_NUMBERS_TOGETHER = 2**28
_MODERN = 17
"""Version of the operator set in which the `onnx` package follows shapes that a graph computes, and in which its reference
evaluator takes batch norms for what they are at inference."""
_SMALL = 1024
"""Constants up to this length are shapes and the like, which decide the sizes of others."""


def read(path: Path) -> bytes:
    """The bytes of a model file; ModelFormatError if it is larger than any model, OSError if it is no file."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ModelFormatError(f"{path}: more than 2 GiB")
    return data


def parse(data: bytes, name: str) -> onnx.ModelProto:
    """The model in `data`, valid, of standard operators alone, without subgraphs and without other files; ONNX Runtime's
    own quantised operators are written with standard ones (`weights/onnx_contrib.py`).

    Raises ModelFormatError, whose text begins with `name`.
    """
    if data[:4] == b"EFM3":
        raise ModelFormatError(f"{name}: an EFM3 file, which the engine runs, and not ONNX Runtime")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError: its class depends on the protobuf build behind onnx
        raise ModelFormatError(f"{name}: not an ONNX file ({error})") from error
    if not all(isinstance(text, str) for text in _texts(model)):  # protobuf gives bytes for what is no UTF-8
        raise ModelFormatError(f"{name}: a name in it is not UTF-8")
    if len(model.graph.node) > MOST_NODES:
        raise ModelFormatError(f"{name}: {len(model.graph.node)} nodes; at most {MOST_NODES} are read")
    if model.functions or model.training_info:
        raise ModelFormatError(f"{name}: holds functions or training steps; only a plain graph is run")
    if model.graph.sparse_initializer:
        raise ModelFormatError(f"{name}: holds sparse weights, which are not run")
    try:
        model = onnx_contrib.standard(model)
    except ValueError as error:
        raise ModelFormatError(f"{name}: {_line(error)}") from error
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise ModelFormatError(f"{name}: the operator {node.domain}.{node.op_type} is no standard one")
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                raise ModelFormatError(f"{name}: the operator {node.op_type} has a graph of its own, which is not run")
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ModelFormatError(f"{name}: the constant {tensor.name!r} lies in another file, which is not opened")
        if math.prod(tensor.dims) > MOST_NUMBERS:
            raise ModelFormatError(f"{name}: the constant {tensor.name!r} has more than 2^26 numbers")
    for output in model.graph.output:
        # The checker insists on a shape, and runtimes do not; the file's own words on it are not believed anyway.
        output.type.tensor_type.ClearField("shape")
        output.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelFormatError(f"{name}: {_line(error)}") from error
    return model


def bound(model: onnx.ModelProto, shape: tuple[int, int, int, int], name: str) -> int:
    """Numbers in all values together that the graph computes from an input of `shape`, found by shape inference.

    Raises ModelFormatError if one is too large, all together are, or a size is not known beforehand.
    """
    light = _without_weights(model)
    dims = light.graph.input[[value.name for value in light.graph.input].index(only_input(model, name).name)]
    for dim, side in zip(dims.type.tensor_type.shape.dim, shape, strict=True):
        dim.Clear()
        dim.dim_value = side
    try:
        known = _sizes(light) | _sizes(modern(light))
    except (shape_inference.InferenceError, version_converter.ConvertError, RuntimeError, ValueError) as error:
        raise ModelFormatError(f"{name}: for an input of {shape}: {_line(error)}") from error
    together = 0
    for node in model.graph.node:
        for output in filter(None, node.output):
            what = f"{name}: the value {output!r} of {node.op_type}"
            numbers = known.get(output)
            if numbers is None:
                raise ModelFormatError(f"{what} has a size that is not known before it is computed")
            together += numbers
            if numbers > MOST_NUMBERS or together > MOST_NUMBERS_TOGETHER:
                raise ModelFormatError(f"{what} goes beyond 2^26 numbers, or all values together beyond 2^28")
    return together


def modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in a newer operator set, if its own is older; ConvertError or RuntimeError if that cannot be."""
    version = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return model if version >= _MODERN else version_converter.convert_version(model, _MODERN)


def _sizes(graph: onnx.ModelProto) -> dict[str, int]:
    """Numbers in each value whose size can be told."""
    del graph.graph.value_info[:]  # what a file says of its own values is not believed
    for output in graph.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True).graph
    kinds = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.output)}
    return {
        name: math.prod(dim.dim_value for dim in kind.shape.dim)
        for name, kind in kinds.items()
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
    }


def only_input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """The one input that is no constant; it is n x 3 x height x width of FLOAT, or the model is refused."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelFormatError(f"{name}: {len(inputs)} inputs; one is wanted")
    kind = inputs[0].type.tensor_type
    dims = kind.shape.dim
    if kind.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1].dim_value != 3:
        raise ModelFormatError(f"{name}: the input {inputs[0].name!r} is not n x 3 x height x width FLOAT")
    return inputs[0]


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """Every text of the file that is looked at here or by those who use the result."""
    for node in model.graph.node:
        yield from (*node.input, *node.output, node.name, node.op_type, node.domain)
    for value in (*model.graph.input, *model.graph.output, *_tensors(model)):
        yield value.name
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.TENSORS:
                yield from attribute.tensors
            elif attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large constants are inputs of the same shape: what shape inference needs, without their bytes."""
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    large = [tensor for tensor in model.graph.initializer if math.prod(tensor.dims) > _SMALL]
    graph.initializer.extend(tensor for tensor in model.graph.initializer if math.prod(tensor.dims) <= _SMALL)
    graph.input.extend(model.graph.input)
    listed = {value.name for value in graph.input}
    graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in large
        if tensor.name not in listed
    )
    return light


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
