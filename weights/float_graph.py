"""An embedding network as the quantiser sees it: an ONNX graph whose numbers can be changed, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from vultus.weights.errors import ImportFailed

Array = npt.NDArray[np.float64]

HOMOGENEOUS = frozenset({"PRelu", "Relu", "LeakyRelu"})
"""Activations with f(s x) = s f(x) for s > 0."""


class Convolution:
    """A convolution with weights of its own; `weight` and `bias` may be assigned."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, npt.NDArray[Any]]) -> None:
        self.node = node
        self._constants = constants
        self.groups = int(attribute(node, "group", 1))
        self.strides = [int(n) for n in attribute(node, "strides", [1, 1])]
        self.pads = [int(n) for n in attribute(node, "pads", [0] * 4)]
        self.dilations = [int(n) for n in attribute(node, "dilations", [1, 1])]

    @property
    def weight(self) -> Array:
        """(c_out, c_in / groups, height, width) float64."""
        return self._constants[self.node.input[1]]

    @weight.setter
    def weight(self, value: Array) -> None:
        self._constants[self.node.input[1]] = value

    @property
    def bias(self) -> Array:
        """(c_out,) float64."""
        return self._constants[self.node.input[2]]

    @bias.setter
    def bias(self, value: Array) -> None:
        self._constants[self.node.input[2]] = value

    @property
    def depthwise(self) -> bool:
        """One input channel for each output channel."""
        return self.groups == self.weight.shape[0] and self.weight.shape[1] == 1 and self.groups > 1

    @property
    def in_bytes(self) -> bool:
        """Whether the engine computes such a convolution from bytes: pointwise, or depthwise 3x3 of stride 1 or 2."""
        if self.weight.shape[2:] == (1, 1):
            return self.groups == 1 and not any(self.pads)
        return (
            self.depthwise
            and self.weight.shape[2:] == (3, 3)
            and max(self.pads) <= 1
            and max(self.strides) <= 2
            and max(self.dilations) == 1
        )


class FloatGraph:
    """Nodes in order and constants by name; batch norms are folded into the convolutions before them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """`model` is one that the engine opens: one input, operators that it knows. ImportFailed if it is INT8 already."""
        self._model = model
        self.opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
        self.constants: dict[str, npt.NDArray[Any]] = {t.name: _widened(t) for t in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        for node in model.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                raise ImportFailed("the network is quantised already")
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _widened(attribute(node, "value", None))
            else:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                self.nodes.append(copy)
        self.input = next(value for value in model.graph.input if value.name not in self.constants)
        self.outputs = [value.name for value in model.graph.output]
        self._own_weights()
        self._fold_batch_norms()
        self.convolutions = [Convolution(node, self.constants) for node in self.nodes if node.op_type == "Conv"]

    def producers(self) -> dict[str, onnx.NodeProto]:
        """Which node computes a value."""
        return {node.output[0]: node for node in self.nodes}

    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """Which nodes read a value."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def byte_values(self) -> list[str]:
        """The values that become bytes: what convolutions in bytes read, the network's input aside."""
        names = [conv.node.input[0] for conv in self.convolutions if conv.in_bytes]
        return list(dict.fromkeys(name for name in names if name != self.input.name))

    def model(self, outputs: Sequence[str] = ()) -> onnx.ModelProto:
        """The network with its own outputs, or with these values, maps, instead."""
        infos = list(self._model.graph.output)
        if outputs:
            infos = [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None, None, None]) for name in outputs
            ]
        return self.assemble(self.nodes, self.constants, infos)

    def assemble(
        self,
        nodes: Iterable[onnx.NodeProto],
        constants: dict[str, npt.NDArray[Any]],
        outputs: Sequence[onnx.ValueInfoProto] = (),
    ) -> onnx.ModelProto:
        """A model of these nodes and constants, float64 as FLOAT; metadata, input and opset are this network's."""
        nodes = list(nodes)
        read = {name for node in nodes for name in node.input}
        initialisers = [
            numpy_helper.from_array(np.asarray(value, np.float32 if value.dtype == np.float64 else value.dtype), name)
            for name, value in constants.items()
            if name in read
        ]
        graph = helper.make_graph(
            nodes, self._model.graph.name, [self.input], list(outputs or self._model.graph.output), initialisers
        )
        made = helper.make_model(
            graph,
            opset_imports=self._model.opset_import,
            ir_version=max(self._model.ir_version, 8),
            producer_name="vultus",
        )
        helper.set_model_props(made, {entry.key: entry.value for entry in self._model.metadata_props})
        return made

    def _own_weights(self) -> None:
        for node in self.nodes:
            if node.op_type != "Conv":
                continue
            if any(name and name not in self.constants for name in node.input[1:]):
                raise ImportFailed(f"the convolution {node.name or node.output[0]} has no constant weights")
            weight = self.constants[node.input[1]]
            bias = self.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(len(weight))
            names = [node.input[0], f"{node.output[0]}.weight", f"{node.output[0]}.bias"]
            self.constants[names[1]], self.constants[names[2]] = weight, bias
            node.ClearField("input")
            node.input.extend(names)

    def _fold_batch_norms(self) -> None:
        producers, consumers = self.producers(), self.consumers()
        left: list[onnx.NodeProto] = []
        for node in self.nodes:
            before = producers.get(node.input[0])
            folds = node.op_type == "BatchNormalization" and before is not None and before.op_type == "Conv"
            if not folds or before is None or len(consumers[node.input[0]]) > 1 or node.input[0] in self.outputs:
                left.append(node)
                continue
            scale, shift, mean, variance = (self.constants[name] for name in node.input[1:5])
            factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
            weight, bias = before.input[1], before.input[2]
            self.constants[weight] = self.constants[weight] * factor[:, None, None, None]
            self.constants[bias] = (self.constants[bias] - mean) * factor + shift
            before.output[0] = node.output[0]
            producers[node.output[0]] = before
        self.nodes = left


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _widened(tensor: onnx.TensorProto) -> npt.NDArray[Any]:
    value = numpy_helper.to_array(tensor)
    return value.astype(np.float64) if value.dtype == np.float32 else value
