"""A model file as an ONNX graph for any number of images, so that others can compute what the engine computes."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from vultus.weights import checkpoint, keras_file, mobilefacenet, onnx_check
from vultus.weights.convert import convert


def as_onnx(path: Path) -> onnx.ModelProto:
    """The network of an EFM3 or ONNX file that the engine has opened, which is its check, or of a checkpoint.

    Input and outputs are free in their first dimension; so are Reshapes that an exporter wrote down for one image.
    """
    data = onnx_check.read(path)
    if data[:4] == b"EFM3":
        return mobilefacenet.from_efm3(data)
    if checkpoint.is_checkpoint(data[:8]) or data[:8] == keras_file.SIGNATURE:
        return onnx.load_from_string(convert(path, ".onnx").data)
    model = onnx_check.parse(data, str(path))
    entry = onnx_check.only_input(model, str(path))
    first = entry.type.tensor_type.shape.dim[0]
    if first.dim_value != 1:
        return model
    first.dim_param = "n"
    del model.graph.value_info[:]
    targets = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    constants = [(node.output[0], node.attribute[0].t) for node in model.graph.node if node.op_type == "Constant"]
    for name, tensor in [*constants, *((tensor.name, tensor) for tensor in model.graph.initializer)]:
        if name in targets and (shape := numpy_helper.to_array(tensor).copy())[:1].tolist() == [1]:
            shape[0] = 0  # as many as come in
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    return model
