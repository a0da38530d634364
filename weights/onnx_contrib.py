"""ONNX Runtime's own quantised operators, written with standard ones.

INT8 files of its quantiser, and of Intel's Neural Compressor (the ONNX Model Zoo's), add and multiply with operators of the
domain `com.microsoft`. What they compute is DequantizeLinear, the operator in floats, and QuantizeLinear (ContribOperators.md
of ONNX Runtime), which is how they are written here: then shapes can be followed and sizes bounded as in any graph, and
ONNX Runtime fuses them to its own again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

DOMAIN = "com.microsoft"
_BINARY = {"QLinearAdd": "Add", "QLinearMul": "Mul"}


class NotStandard(ValueError):
    """A node that has no standard writing here."""


def standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without the domain `com.microsoft`; `model` itself where nothing is of it. Raises NotStandard."""
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    writer = _Writer(made)
    nodes = [each for node in model.graph.node for each in writer.written(node)]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(writer.constants)
    kept = [entry for entry in made.opset_import if entry.domain != DOMAIN]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    return made


class _Writer:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._given = {tensor.name: tensor for tensor in model.graph.initializer}
        self.constants: list[onnx.TensorProto] = []

    def written(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The standard nodes for one."""
        if node.domain != DOMAIN:
            return [node]
        inputs = list(node.input)
        if node.op_type in _BINARY and len(inputs) == 8:
            a, b = self._floats(node, 0, inputs[:3]), self._floats(node, 1, inputs[3:6])
            return [a, b, *self._back(node, _BINARY[node.op_type], [a.output[0], b.output[0]], inputs[6:])]
        if node.op_type == "QLinearGlobalAveragePool" and len(inputs) == 5 and not _attribute(node, "channels_last"):
            a = self._floats(node, 0, inputs[:3])
            return [a, *self._back(node, "GlobalAveragePool", [a.output[0]], inputs[3:])]
        if node.op_type == "QGemm" and len(inputs) in (8, 9):
            return self._gemm(node, inputs)
        raise NotStandard(f"the operator {DOMAIN}.{node.op_type} is no standard one")

    def _gemm(self, node: onnx.NodeProto, inputs: list[str]) -> list[onnx.NodeProto]:
        """QGemm(A, scale, zero, B, scale, zero, C, [Y scale, zero]); the weights B and the bias C become floats here."""
        scale_a = self._value(inputs[1])
        scale, zero = self._value(inputs[4]), self._value(inputs[5]) if inputs[5] else np.zeros(1)
        weights = self._value(inputs[3])
        if weights.ndim != 2 or scale_a.size != 1:
            raise NotStandard("a QGemm whose weights are no matrix, or whose input has several scales")
        along = (
            (-1, 1) if _attribute(node, "transB") else (1, -1)
        )  # a scale for all, or one for each column of the answer
        floats = (weights.astype(np.float64) - zero.astype(np.float64).reshape(along)) * scale.reshape(along)
        a = self._floats(node, 0, inputs[:3])
        gemm = [a.output[0], self._constant(node, "weights", floats)]
        alpha = float(_attribute(node, "alpha", 1.0))
        if inputs[6]:
            bias = self._value(inputs[6]).astype(np.float64) * float(scale_a.reshape(-1)[0]) * scale.reshape(-1)
            gemm.append(self._constant(node, "bias", bias * alpha))
        options: dict[str, Any] = {key: int(_attribute(node, key)) for key in ("transA", "transB")}
        if len(inputs) < 9 or not inputs[7]:  # the answer stays floats
            return [a, helper.make_node("Gemm", gemm, [node.output[0]], alpha=alpha, **options)]
        return [a, *self._back(node, "Gemm", gemm, inputs[7:], alpha=alpha, **options)]

    def _floats(self, node: onnx.NodeProto, number: int, inputs: list[str]) -> onnx.NodeProto:
        kept = inputs if inputs[2] else inputs[:2]
        return helper.make_node("DequantizeLinear", kept, [f"{node.output[0]}.floats{number}"])

    def _back(
        self, node: onnx.NodeProto, op: str, inputs: list[str], ends: list[str], **attributes: Any
    ) -> list[onnx.NodeProto]:
        middle = f"{node.output[0]}.floats"
        kept = [end for end in ends if end]
        return [
            helper.make_node(op, inputs, [middle], **attributes),
            helper.make_node("QuantizeLinear", [middle, *kept], [node.output[0]]),
        ]

    def _value(self, name: str) -> npt.NDArray[Any]:
        if name not in self._given:
            raise NotStandard(f"{name!r}, which a quantised operator reads, is no constant")
        return numpy_helper.to_array(self._given[name])

    def _constant(self, node: onnx.NodeProto, what: str, value: npt.NDArray[Any]) -> str:
        name = f"{node.output[0]}.{what}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name


def _attribute(node: onnx.NodeProto, name: str, default: float = 0) -> float:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
