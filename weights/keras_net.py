"""MobileFaceNets of Keras as ONNX graphs: from a whole model as its own description says, or from weights alone.

Keras computes on (n, height, width, channels); here it becomes (n, channels, height, width), so kernels are transposed.
Its padding "same" puts what is odd below and to the right: at stride 2 on an even side a 3x3 kernel gets nothing above
and one row below (keras.io, "Conv2D"; TensorFlow's "SAME"), where PyTorch's padding of 1 gets one on each side.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.weights.errors import ImportFailed
from vultus.weights.keras_file import KerasFile, natural
from vultus.weights.state_graph import StateGraph

SIDE = 112
_EPSILON = 1e-3
"""Of Keras's batch norms, if the file does not say another."""
_STAGES = ((2, 5), (2, 1), (1, 6), (2, 1), (1, 2))
"""Of MobileFaceNet-Keras: stride of the first block, blocks. Widths are in the weights."""
_KINDS = ("separable_conv2d", "depthwise_conv2d", "conv2d", "batch_normalization", "p_re_lu", "dense")

Array = npt.NDArray[np.float32]
Settings = Mapping[str, Any]


class _Value(Struct, frozen=True):
    """A computed value: its name in the graph, channels, and height and width; none once it is a row of numbers."""

    name: str
    channels: int
    size: tuple[int, int] | None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Of a ZeroPadding2D that the next convolution does: top, left, bottom, right; `size` has them."""


def to_onnx(file: KerasFile, *, mean: str, std: str, colour: str) -> bytes:
    """The ONNX file, `(n, 3, 112, 112)` to `(n, dim)`, raw output; normalisation goes into its metadata.

    Weights without a description are taken for those of MobileFaceNet-Keras (a stride is in the first pointwise convolution
    of its block). Raises ImportFailed for another network, and for layers that are not known here.
    """
    net = _Net(StateGraph({}))
    out = _described(net, file) if file.config is not None else _mobilefacenet(net, file.weights)
    if out.size is not None:
        raise ImportFailed("it ends in a map and not in a vector; save the model that ends with the embedding")
    name = net.graph.node("Identity", out.name, name="embedding")
    return net.graph.data(
        "mobilefacenet-keras", SIDE, SIDE, {name: ["n", out.channels]}, colour=colour, mean=mean, std=std
    )


class _Net:
    """Appends Keras's layers."""

    def __init__(self, graph: StateGraph) -> None:
        self.graph = graph
        self._numbers = itertools.count()

    def _constant(self, value: Array) -> str:
        return self.graph.constant(f"w{next(self._numbers)}", np.ascontiguousarray(value))

    def conv(self, x: _Value, weights: Sequence[Array], *, strides: Sequence[int], padding: str) -> _Value:
        """Conv2D: kernel (height, width, in, out)."""
        kernel, bias = _kernel(weights, x.channels, 2)
        return self._conv(x, kernel.transpose(3, 2, 0, 1), bias, strides, padding, 1)

    def depthwise(self, x: _Value, weights: Sequence[Array], *, strides: Sequence[int], padding: str) -> _Value:
        """DepthwiseConv2D with one kernel for each channel: (height, width, channels, 1)."""
        kernel, bias = _kernel(weights, x.channels, 2)
        if kernel.shape[3] != 1:
            raise ImportFailed(f"a depthwise convolution with {kernel.shape[3]} kernels for each channel; 1 is known")
        return self._conv(x, kernel.transpose(2, 3, 0, 1), bias, strides, padding, x.channels)

    def separable(self, x: _Value, weights: Sequence[Array], *, strides: Sequence[int], padding: str) -> _Value:
        """SeparableConv2D: a depthwise convolution without bias, and a pointwise one."""
        if len(weights) not in (2, 3):
            raise ImportFailed(f"a separable convolution with {len(weights)} arrays")
        y = self.depthwise(x, weights[:1], strides=strides, padding=padding)
        return self.conv(y, weights[1:], strides=(1, 1), padding="valid")

    def _conv(
        self, x: _Value, kernel: Array, bias: Array | None, strides: Sequence[int], padding: str, groups: int
    ) -> _Value:
        if x.size is None or any(not 1 <= step <= 8 for step in strides) or padding not in ("same", "valid"):
            raise ImportFailed(f"a convolution of strides {tuple(strides)} and padding {padding!r} where none can be")
        sides, before, behind = [], [], []
        for side, k, step in zip(x.size, kernel.shape[2:], strides, strict=True):
            out = -(-side // step) if padding == "same" else (side - k) // step + 1
            spare = max(0, (out - 1) * step + k - side) if padding == "same" else 0
            sides.append(out)
            before.append(spare // 2)
            behind.append(spare - spare // 2)
        if min(sides) < 1:
            raise ImportFailed(f"a kernel of {kernel.shape[2:]} on a map of {x.size}")
        if any(x.pads) and padding != "valid":
            raise ImportFailed("padding 'same' behind a ZeroPadding2D")
        pads = list(x.pads) if any(x.pads) else [*before, *behind]
        inputs = [self._constant(kernel), *([] if bias is None else [self._constant(bias)])]
        name = self.graph.node(
            "Conv", x.name, *inputs, strides=list(strides), pads=pads, group=groups, kernel_shape=list(kernel.shape[2:])
        )
        return _Value(name, len(kernel), (sides[0], sides[1]))

    def norm(self, x: _Value, weights: Sequence[Array], *, epsilon: float, scale: bool, centre: bool) -> _Value:
        """BatchNormalization: gamma if it scales, beta if it centres, mean, variance."""
        left = list(weights)
        if len(left) != 2 + scale + centre or any(array.shape != (x.channels,) for array in left):
            raise ImportFailed(f"a batch norm of {[array.shape for array in left]} for {x.channels} channels")
        gamma = left.pop(0) if scale else np.ones(x.channels, np.float32)
        beta = left.pop(0) if centre else np.zeros(x.channels, np.float32)
        names = [self._constant(value) for value in (gamma, beta, *left)]
        return _Value(self.graph.node("BatchNormalization", x.name, *names, epsilon=epsilon), x.channels, x.size)

    def prelu(self, x: _Value, weights: Sequence[Array]) -> _Value:
        """PReLU whose slopes are shared over height and width: (1, 1, channels)."""
        if len(weights) != 1 or weights[0].size != x.channels or weights[0].shape[-1:] != (x.channels,):
            raise ImportFailed("a PReLU with a slope for each place; shared_axes=[1, 2] is known")
        slope = weights[0].reshape((-1, 1, 1) if x.size is not None else (-1,))
        return _Value(self.graph.node("PRelu", x.name, self._constant(slope)), x.channels, x.size)

    def pad(self, x: _Value, pads: Sequence[Sequence[int]]) -> _Value:
        """ZeroPadding2D, ((top, bottom), (left, right))."""
        (top, bottom), (left, right) = pads
        if x.size is None or not all(0 <= side <= 16 for side in (top, bottom, left, right)):
            raise ImportFailed("a ZeroPadding2D that cannot be")
        return _Value(
            x.name, x.channels, (x.size[0] + top + bottom, x.size[1] + left + right), (top, left, bottom, right)
        )

    def add(self, x: _Value, y: _Value) -> _Value:
        """Add of two."""
        if (x.channels, x.size) != (y.channels, y.size):
            raise ImportFailed(f"maps of {x.channels}x{x.size} and {y.channels}x{y.size} are added")
        return _Value(self.graph.node("Add", x.name, y.name), x.channels, x.size)

    def flatten(self, x: _Value) -> _Value:
        """Flatten of a map of 1x1, whose order is the same in both layouts."""
        if x.size not in ((1, 1), None):
            raise ImportFailed(f"a Flatten of {x.size} pixels; of one pixel it is known")
        return x if x.size is None else _Value(self.graph.node("Flatten", x.name, axis=1), x.channels, None)

    def dense(self, x: _Value, weights: Sequence[Array]) -> _Value:
        """Dense: kernel (in, out)."""
        kernel, bias = _kernel(weights, x.channels, 0)
        if x.size is not None:
            raise ImportFailed("a Dense layer on a map; Flatten before it is known")
        inputs = [self._constant(kernel.T), *([] if bias is None else [self._constant(bias)])]
        return _Value(self.graph.node("Gemm", x.name, *inputs, transB=1), kernel.shape[1], None)


def _kernel(weights: Sequence[Array], channels: int, at: int) -> tuple[Array, Array | None]:
    """Kernel, whose axis `at` are the input's channels, and bias."""
    dims = 4 if at else 2
    if len(weights) not in (1, 2) or weights[0].ndim != dims or weights[0].shape[at] != channels:
        raise ImportFailed(f"weights of {[array.shape for array in weights]} for {channels} channels")
    if min(weights[0].shape) < 1:
        raise ImportFailed(f"a kernel of {weights[0].shape}")
    return weights[0], weights[1] if len(weights) == 2 else None


def _mobilefacenet(net: _Net, weights: dict[str, list[Array]]) -> _Value:
    """MobileFaceNet-Keras (TMaysGGS), whose layers of one kind come in their order; the classifier behind is left out."""
    queues: dict[str, list[list[Array]]] = {kind: [] for kind in _KINDS}
    for name in sorted(weights, key=natural):
        kind = next((kind for kind in _KINDS if natural(name)[0].endswith(kind)), None)
        if kind is not None:
            queues[kind].append(weights[name])

    def take(kind: str) -> list[Array]:
        if not queues[kind]:
            raise ImportFailed(
                f"weights without a description, and not those of MobileFaceNet-Keras: no {kind} is left"
            )
        return queues[kind].pop(0)

    def norm(x: _Value) -> _Value:
        return net.norm(x, take("batch_normalization"), epsilon=_EPSILON, scale=True, centre=True)

    def block(x: _Value, kind: str, step: int, padding: str = "same") -> _Value:
        layer = {"conv2d": net.conv, "separable_conv2d": net.separable, "depthwise_conv2d": net.depthwise}[kind]
        return net.prelu(norm(layer(x, take(kind), strides=(step, step), padding=padding)), take("p_re_lu"))

    x = block(_Value("data", 3, (SIDE, SIDE)), "conv2d", 2)
    x = block(x, "separable_conv2d", 1)
    for first, blocks in _STAGES:
        for number in range(blocks):
            y = block(block(x, "conv2d", 1 if number else first), "depthwise_conv2d", 1)
            y = norm(net.conv(y, take("conv2d"), strides=(1, 1), padding="same"))
            x = net.add(y, x) if number else y
    x = block(x, "conv2d", 1)
    x = norm(net.depthwise(x, take("depthwise_conv2d"), strides=(1, 1), padding="valid"))
    return net.dense(net.flatten(block(x, "conv2d", 1)), take("dense"))


def _described(net: _Net, file: KerasFile) -> _Value:
    """The network that `model_config` describes, layer by layer."""
    config = file.config or {}
    inner = config.get("config", {})
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(layers, list) or not layers:
        raise ImportFailed("its description has no layers")
    values: dict[str, _Value] = {}
    last = ""
    for layer in layers:
        try:
            kind, settings = str(layer["class_name"]), dict(layer["config"])
            name = str(layer.get("name") or settings["name"])
            inputs = _inputs(layer) if config.get("class_name") != "Sequential" else ([last] if last else [])
            if kind == "InputLayer" or not values:
                values[name] = _input(settings)
            if kind != "InputLayer":
                given = [values[one] for one in inputs] or [values[name]]
                values[name] = _layer(net, kind, settings, given, file.weights.get(name, []))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, ImportFailed):
                raise ImportFailed(f"{layer.get('class_name')} {layer.get('name', '')}: {error}") from None
            raise ImportFailed(f"its description of a layer is not as Keras writes it ({error!r})") from error
        last = name
    outputs = inner.get("output_layers")
    named = [one for one in _names(outputs) if one in values] if outputs else [last]
    if len(named) != 1:
        raise ImportFailed(f"{len(named)} outputs; one embedding is wanted")
    return values[named[0]]


def _input(settings: Settings) -> _Value:
    shape = settings.get("batch_shape") or settings.get("batch_input_shape") or ()
    if tuple(shape)[1:] != (SIDE, SIDE, 3):
        raise ImportFailed(f"an input of {shape}; (None, {SIDE}, {SIDE}, 3) is known")
    return _Value("data", 3, (SIDE, SIDE))


def _inputs(layer: Settings) -> list[str]:
    """The layers before one, as Keras 2 ([[["name", 0, 0, {}], ...]]) or 3 (`keras_history`) notes them."""
    nodes = layer.get("inbound_nodes") or []
    if not nodes:
        return []
    if isinstance(nodes[0], dict):
        return _histories(nodes[0].get("args", []))
    return [str(one[0]) for one in nodes[0]]


def _histories(args: Any) -> list[str]:
    if isinstance(args, dict):
        return [str(args["config"]["keras_history"][0])]
    return [name for one in args for name in _histories(one)]


def _names(outputs: Any) -> list[str]:
    """Of `output_layers`: ["name", 0, 0], or a list of such."""
    if outputs and isinstance(outputs[0], str):
        return [outputs[0]]
    return [str(one[0]) for one in outputs]


def _layer(net: _Net, kind: str, settings: Settings, given: list[_Value], weights: list[Array]) -> _Value:
    if settings.get("data_format") not in (None, "channels_last"):
        raise ImportFailed("channels come first; channels_last is known")
    x = given[0]
    convolutions: dict[str, Callable[..., _Value]] = {
        "Conv2D": net.conv,
        "DepthwiseConv2D": net.depthwise,
        "SeparableConv2D": net.separable,
    }
    if any(x.pads) and kind not in convolutions:
        raise ImportFailed("a ZeroPadding2D that no convolution follows")
    if kind in convolutions:
        if set(settings.get("dilation_rate", (1,))) != {1} or settings.get("groups", 1) not in (1, None):
            raise ImportFailed("dilated or grouped; neither is known")
        y = convolutions[kind](x, weights, strides=settings["strides"], padding=settings["padding"])
        return _activated(net, y, settings.get("activation"))
    if kind == "BatchNormalization":
        axis = settings.get("axis", -1)
        if (axis[0] if isinstance(axis, list) else axis) not in (-1, 3, *((1,) if x.size is None else ())):
            raise ImportFailed(f"a batch norm along the axis {axis}")
        options = {"scale": settings.get("scale", True), "centre": settings.get("center", True)}
        return net.norm(x, weights, epsilon=float(settings.get("epsilon", _EPSILON)), **options)
    if kind == "PReLU":
        return net.prelu(x, weights)
    if kind == "Add":
        return net.add(given[0], given[1])
    if kind == "Dense":
        return _activated(net, net.dense(x, weights), settings.get("activation"))
    if kind == "Flatten":
        return net.flatten(x)
    if kind == "ZeroPadding2D":
        return net.pad(x, settings["padding"])
    if kind in ("Activation", "ReLU"):
        if kind == "ReLU" and any(settings.get(key) for key in ("max_value", "negative_slope", "threshold")):
            raise ImportFailed("a ReLU with a limit or a slope")
        return _activated(net, x, "relu" if kind == "ReLU" else settings.get("activation"))
    if kind in ("Dropout", "SpatialDropout2D"):
        return x
    raise ImportFailed("no such layer is known here; export the model to ONNX with tf2onnx")


def _activated(net: _Net, x: _Value, activation: Any) -> _Value:
    if activation in (None, "linear"):
        return x
    if activation == "relu":
        return _Value(net.graph.node("Relu", x.name), x.channels, x.size)
    raise ImportFailed(f"the activation {activation!r}; linear and relu are known")
