"""Cuts the decoding of boxes off a single-shot detector's ONNX graph, so that it runs at any size.

The Ultra-Light files end in arithmetic with their priors, which are constants for one input size. Before it stands one
value that holds for any: the rows of all levels put together. The cut graph has that as its output `locations`, and
`scores` as they were; `vultus.native.decode_ultralight` does the rest.
"""

from __future__ import annotations

import onnx

from vultus.weights.errors import ImportFailed

_DECODING = frozenset({"Add", "Concat", "Div", "Exp", "Mul", "Slice", "Sub"})
_METADATA = {"vultus.colour": "rgb", "vultus.mean": "127", "vultus.std": "128"}
"""How the Ultra-Light networks were trained."""


def cut(data: bytes) -> bytes:
    """The ONNX file of an Ultra-Light detector as published -> the same network up to its heads, of any input size.

    One output for each place of `vultus.native.decode_ultralight`: `scores` `(n, rows, 2)`, `locations` `(n, rows, 4)`. The
    normalisation goes into the file's `metadata_props`. The result depends on nothing but `data`.
    Raises ImportFailed for another graph.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError: its class depends on the protobuf build behind onnx
        raise ImportFailed(f"not an ONNX file ({error})") from error
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    if {value.name for value in graph.output} != {"scores", "boxes"} or len(makers) != sum(
        len(node.output) for node in graph.node
    ):
        raise ImportFailed("not an Ultra-Light detector: its outputs are not scores and boxes")
    heads = _before_decoding("boxes", makers)
    needed = _needed({"scores", heads}, makers)
    nodes = [node for node in graph.node if node.output[0] in needed]
    for node in nodes:
        _rename(node, heads, "locations")
    constants = {name for node in nodes for name in node.input}
    names = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in names]
    for value in inputs:
        for dim, name in zip(value.type.tensor_type.shape.dim, ("n", None, "height", "width"), strict=True):
            if name:
                dim.Clear()
                dim.dim_param = name
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "rows", columns])
        for name, columns in (("scores", 2), ("locations", 4))
    ]
    kept = [tensor for tensor in graph.initializer if tensor.name in constants]
    result = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, graph.name, inputs, outputs, kept),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    result.producer_name = "vultus"
    onnx.helper.set_model_props(result, _METADATA)
    onnx.checker.check_model(result)
    return bytes(result.SerializeToString(deterministic=True))


def _before_decoding(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    """The one value that all arithmetic behind `name` starts from: levels put together along the rows."""
    found: set[str] = set()
    seen: set[str] = set()
    queue = [name]
    while queue:
        value = queue.pop()
        node = makers.get(value)
        if node is None or value in seen or node.op_type == "Constant":
            continue
        seen.add(value)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
        if node.op_type == "Concat" and axis == 1:
            found.add(value)
        elif node.op_type in _DECODING:
            queue.extend(node.input)
        else:
            raise ImportFailed(f"not an Ultra-Light detector: {node.op_type} is part of how its boxes are decoded")
    if len(found) != 1:
        raise ImportFailed(f"not an Ultra-Light detector: its boxes are decoded from {len(found)} values")
    return found.pop()


def _needed(names: set[str], makers: dict[str, onnx.NodeProto]) -> set[str]:
    """All values that the given ones are computed from, and they themselves."""
    needed: set[str] = set()
    queue = list(names)
    while queue:
        value = queue.pop()
        if value not in needed:
            needed.add(value)
            queue.extend(makers[value].input if value in makers else ())
    return needed


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            if name == old:
                names[i] = new
