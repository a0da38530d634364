"""An ONNX graph built from the weights of a state dict, layer by layer; for importers that know a network's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from vultus.weights.errors import ImportFailed

Weights = Mapping[str, npt.NDArray[Any]]

_OPSET = 17
EPSILON = 1e-5
"""Of PyTorch's batch norms."""


class StateGraph:
    """Appends nodes; a layer is named as in the state dict, with `prefix` before it."""

    def __init__(self, weights: Weights, prefix: str = "") -> None:
        self._weights = weights
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, npt.NDArray[Any]] = {}

    def has(self, name: str) -> bool:
        """Whether there are weights of that name."""
        return self._prefix + name in self._weights

    def weight(self, name: str, ndim: int) -> npt.NDArray[Any]:
        """The weights of that name; ImportFailed if there are none, or of another rank."""
        found = self._weights.get(self._prefix + name)
        if found is None:
            raise ImportFailed(f"the checkpoint has no {self._prefix}{name}")
        if found.ndim != ndim:
            raise ImportFailed(f"{self._prefix}{name} has the shape {found.shape}; {ndim} dimensions were expected")
        return found

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """An initialiser."""
        self._constants[name] = value
        return name

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node, by default with a name of its own; returns its output."""
        out = name or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def conv(self, x: str, name: str, *, stride: int = 1, depthwise: bool = False) -> str:
        """The convolution `name`, padded so that stride 1 keeps the size, with its bias if it has one."""
        weight = self.weight(f"{name}.weight", 4)
        c_out, depth, k, other = weight.shape
        if k != other or k % 2 == 0 or (depthwise and depth != 1):
            raise ImportFailed(f"{name}.weight has the shape {weight.shape}, which such a network does not have")
        inputs = [self.constant(f"{name}.weight", weight)]
        if self.has(f"{name}.bias"):
            inputs.append(self.constant(f"{name}.bias", self.weight(f"{name}.bias", 1)))
        groups = c_out if depthwise else 1
        return self.node("Conv", x, *inputs, strides=[stride] * 2, pads=[k // 2] * 4, group=groups, kernel_shape=[k, k])

    def valid_conv(self, x: str, name: str) -> str:
        """The convolution `name` of stride 1, without padding and with a bias."""
        weight, bias = self.weight(f"{name}.weight", 4), self.weight(f"{name}.bias", 1)
        inputs = (self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias))
        return self.node("Conv", x, *inputs, kernel_shape=list(weight.shape[2:]))

    def norm(self, x: str, name: str) -> str:
        """The batch norm `name`; without weights of its own, as MagFace's last, it scales by 1."""
        mean = self.weight(f"{name}.running_mean", 1)
        values = {
            "weight": self.weight(f"{name}.weight", 1) if self.has(f"{name}.weight") else np.ones_like(mean),
            "bias": self.weight(f"{name}.bias", 1) if self.has(f"{name}.bias") else np.zeros_like(mean),
            "running_mean": mean,
            "running_var": self.weight(f"{name}.running_var", 1),
        }
        if any(value.shape != mean.shape for value in values.values()):
            raise ImportFailed(f"the parts of {name} are of different lengths")
        inputs = [self.constant(f"{name}.{part}", value) for part, value in values.items()]
        return self.node("BatchNormalization", x, *inputs, epsilon=EPSILON)

    def prelu(self, x: str, name: str, *, flat: bool = False) -> str:
        """The PReLU `name`, a slope for each channel or one for all; `flat`: of vectors."""
        slope = self.weight(f"{name}.weight", 1)
        return self.node("PRelu", x, self.constant(f"{name}.weight", slope if flat else slope.reshape(-1, 1, 1)))

    def data(
        self, title: str, height: int | str, width: int | str, outputs: Mapping[str, Sequence[int | str]], **meta: str
    ) -> bytes:
        """The file: `data` `(n, 3, height, width)` to `outputs`, with `meta` as its metadata (`vultus.` before each)."""
        shapes = {"data": ["n", 3, height, width], **outputs}
        values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
        tensors = [
            numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in self._constants.items()
        ]
        graph = helper.make_graph(self._nodes, title, [values["data"]], [values[name] for name in outputs], tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8, producer_name="vultus"
        )
        helper.set_model_props(model, {f"vultus.{key}": value for key, value in sorted(meta.items())})
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ImportFailed(f"the checkpoint's layers do not fit each other ({error})") from error
        return bytes(model.SerializeToString(deterministic=True))
