"""ONNX graphs against ONNX Runtime: every operator, their fusions, and how others are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.native import Engine, ModelFormatError, UnsupportedModelError


class Graph:
    """Appends nodes one after the other; a constant is any array among the inputs."""

    def __init__(self, rand: np.random.Generator, size: tuple[int, int] = (12, 10)) -> None:
        self.rand = rand
        self.size = size
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.names = iter(range(10_000))

    def add(self, op: str, *inputs: str | np.ndarray, **attributes: object) -> str:
        names = []
        for value in inputs:
            if isinstance(value, np.ndarray):
                name = f"k{next(self.names)}"
                self.initializers.append(numpy_helper.from_array(value, name))
                value = name
            names.append(value)
        out = f"{op.lower()}{next(self.names)}"
        self.nodes.append(helper.make_node(op, names, [out], out, **attributes))
        return out

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self.rand.standard_normal(shape) * scale).astype(np.float32)

    def conv(
        self,
        x: str,
        c_in: int,
        c_out: int,
        k: int | tuple[int, int] = 3,
        groups: int = 1,
        bias: bool = True,
        **attributes: object,
    ) -> str:
        kh, kw = (k, k) if isinstance(k, int) else k
        weight = self.normal(c_out, c_in // groups, kh, kw, scale=(2 / (c_in // groups * kh * kw)) ** 0.5)
        inputs = [weight, self.normal(c_out)] if bias else [weight]
        return self.add("Conv", x, *inputs, group=groups, kernel_shape=[kh, kw], **attributes)

    def batch_norm(self, x: str, c: int, **attributes: object) -> str:
        positive = [self.rand.uniform(0.5, 1.5, c).astype(np.float32) for _ in range(2)]
        return self.add("BatchNormalization", x, positive[0], self.normal(c), self.normal(c), positive[1], **attributes)

    def model(self, output: str, metadata: dict[str, str] | None = None, opset: int = 17) -> onnx.ModelProto:
        data = helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, *self.size])
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "test", [data], [out], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        return model


def head(g: Graph, x: str, c: int, h: int, w: int, dim: int = 9) -> str:
    """Flatten and a fully connected layer, so that every number of the map counts."""
    weight = g.normal(dim, c * h * w, scale=(c * h * w) ** -0.5)
    return g.add("Gemm", g.add("Flatten", x), weight, g.normal(dim), transB=1)


def reference(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: face[None]})[0] for face in x])


@pytest.fixture
def compare(isa: str, tmp_path: Path) -> Callable[..., Engine]:
    """Runs a graph in both, on faces of the graph's size, and compares the raw outputs."""

    def check(g: Graph, output: str, opset: int = 17) -> Engine:
        model = g.model(output, opset=opset)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        engine = Engine(path, threads=2, isa=isa)
        x = g.normal(5, 3, *g.size)
        want = reference(model, x)
        got = engine.embed(x, normalize=False)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 2e-5 * max(1, np.abs(want).max())
        normal = want / np.linalg.norm(want, axis=1, keepdims=True)
        assert np.abs(engine.embed(x) - normal).max() < 1e-5
        return engine

    return check


@pytest.mark.parametrize(
    ("c_out", "k", "attributes"),
    [
        (5, 3, {"pads": [1, 1, 1, 1]}),
        (24, 3, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        (8, 1, {}),
        (17, 5, {"pads": [2, 2, 2, 2], "strides": [2, 2]}),
        (16, (3, 2), {"pads": [0, 1, 2, 0], "strides": [1, 2]}),
        (40, 3, {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    ],
)
def test_first_convolution(
    rand: np.random.Generator, compare, c_out: int, k, attributes: dict[str, Sequence[int]]
) -> None:
    g = Graph(rand)
    x = g.conv("data", 3, c_out, k, **attributes)
    shape = onnx.shape_inference.infer_shapes(g.model(x)).graph.output[0].type.tensor_type.shape
    compare(g, head(g, x, *(d.dim_value for d in shape.dim[1:])))


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize(
    ("k", "attributes"),
    [
        (3, {"pads": [1, 1, 1, 1]}),
        (3, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        (3, {}),
        (3, {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
        (1, {}),
        (1, {"strides": [2, 2]}),
        (1, {"pads": [1, 1, 1, 1]}),
        (5, {"pads": [2, 2, 2, 2], "strides": [3, 1]}),
        ((2, 3), {"pads": [0, 2, 3, 1], "dilations": [3, 2]}),
        ((12, 10), {}),
    ],
)
def test_convolution(rand: np.random.Generator, compare, groups: int, k, attributes: dict[str, Sequence[int]]) -> None:
    g = Graph(rand)
    x = g.add("Relu", g.conv("data", 3, 16, 1))
    x = g.conv(x, 16, 16, k, groups, **attributes)
    shape = onnx.shape_inference.infer_shapes(g.model(x)).graph.output[0].type.tensor_type.shape
    compare(g, head(g, x, *(d.dim_value for d in shape.dim[1:])))


def test_grouped_with_activation_and_residual(rand: np.random.Generator, compare) -> None:
    g = Graph(rand)
    x = g.conv("data", 3, 12, 3, pads=[1, 1, 1, 1])
    y = g.conv(x, 12, 12, 3, 4, pads=[1, 1, 1, 1])
    x = g.add("PRelu", g.add("Add", x, y), g.normal(12, 1, 1))
    x = g.conv(x, 12, 24, 3, 12, pads=[1, 1, 1, 1])  # two outputs of each channel
    compare(g, head(g, g.add("LeakyRelu", x, alpha=0.2), 24, 12, 10))


@pytest.mark.parametrize("width", [1, 2, 3, 6, 7, 8, 13, 14, 15, 29])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_widths(rand: np.random.Generator, compare, width: int, stride: int) -> None:
    g = Graph(rand, (4, width))
    x = g.conv(g.conv("data", 3, 20, 1), 20, 20, 3, 20, pads=[1, 1, 1, 1], strides=[stride, stride])
    compare(g, head(g, g.add("Relu", x), 20, (4 - 1) // stride + 1, (width - 1) // stride + 1))


@pytest.mark.parametrize(
    "act",
    [
        lambda g, x: g.add("Relu", x),
        lambda g, x: g.add("LeakyRelu", x, alpha=0.3),
        lambda g, x: g.add("PRelu", x, g.normal(10, 1, 1)),
        lambda g, x: g.add("PRelu", x, g.normal(1, 10, 1, 1)),
        lambda g, x: g.add("PRelu", x, g.normal(1)),
        lambda g, x: g.add("Clip", x, np.array(0, "f4"), np.array(6, "f4")),
        lambda g, x: g.add("Clip", x, "", np.array(0.25, "f4")),
        lambda g, x: g.add("Clip", x, np.array(0.25, "f4")),
        lambda g, x: g.add("Relu", g.add("Clip", x, np.array(-1, "f4"))),
    ],
)
def test_activation(rand: np.random.Generator, compare, act: Callable[[Graph, str], str]) -> None:
    g = Graph(rand)
    x = act(g, g.conv("data", 3, 10, 1))
    x = act(g, g.batch_norm(g.conv(x, 10, 10, 3, 10, bias=False), 10))
    x = act(g, g.add("Add", x, x))  # no convolution to fuse with
    compare(g, head(g, x, 10, 10, 8))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("padding", [0, 1])
def test_arithmetic_at_the_input(rand: np.random.Generator, compare, op: str, shape, padding: int) -> None:
    """Zero padding stands for zeros behind the normalisation, not before it."""
    g = Graph(rand)
    x = g.add(op, "data", rand.uniform(1, 2, shape).astype(np.float32))
    x = g.add("Sub", np.ones((1,), np.float32), x)
    compare(g, head(g, g.conv(x, 3, 8, 3, pads=[padding] * 4), 8, 10 + 2 * padding, 8 + 2 * padding))


def test_batch_norms_where_they_cannot_be_folded(rand: np.random.Generator, compare) -> None:
    g = Graph(rand)
    x = g.batch_norm("data", 3)
    a = g.add("Relu", g.conv(x, 3, 8, 3, pads=[1, 1, 1, 1]))
    b = g.batch_norm(a, 8)  # behind an activation, before a padded convolution
    c = g.add("PRelu", g.batch_norm(g.conv(b, 8, 8, 3, pads=[1, 1, 1, 1]), 8, epsilon=1e-3), g.normal(8, 1, 1))
    d = g.batch_norm(g.conv(c, 8, 8, 3, pads=[1, 1, 1, 1]), 8)
    e = g.add("Add", d, a)
    compare(g, head(g, g.batch_norm(g.add("Relu", e), 8), 8, 12, 10))


def test_input_with_several_readers(rand: np.random.Generator, compare) -> None:
    g = Graph(rand)
    x = g.add("Add", g.conv("data", 3, 3, 1), "data")
    y = g.conv("data", 3, 3, 3, 3, pads=[1, 1, 1, 1])
    compare(g, head(g, g.add("Add", x, y), 3, 12, 10))


def test_residual_that_spans_several_layers(rand: np.random.Generator, compare) -> None:
    g = Graph(rand)
    x = g.conv("data", 3, 16, 1)
    long = g.conv(x, 16, 16, 1, strides=[2, 2])
    y = g.add("Relu", g.conv(x, 16, 64, 1))
    y = g.add("Relu", g.conv(y, 64, 64, 3, 64, pads=[1, 1, 1, 1], strides=[2, 2]))
    y = g.conv(y, 64, 16, 1)
    z = g.add("Add", long, y)
    z = g.add("Add", g.conv(z, 16, 16, 1), long)
    compare(g, head(g, z, 16, 6, 5))


def test_wide_map_in_bands(rand: np.random.Generator, compare) -> None:
    """A block whose middle is far larger than the cache: its maps become rings of a few rows."""
    g = Graph(rand, (90, 56))
    x = g.add("Relu", g.conv("data", 3, 16, 3, pads=[1, 1, 1, 1]))
    for stride in (1, 2):
        y = g.add("Relu", g.conv(x, 16, 128, 1))
        y = g.add("Relu", g.conv(y, 128, 128, 3, 128, pads=[1, 1, 1, 1], strides=[stride, stride]))
        y = g.conv(y, 128, 16, 1)
        x = g.add("Add", x, y) if stride == 1 else y
    engine = compare(g, head(g, x, 16, 45, 28))
    # Three whole maps of 90 x 56 x 128 would be 7.7 MB.
    assert engine.memory["per_thread"] < 4_000_000


@pytest.mark.parametrize("opset", [8, 9, 13, 17])
def test_tail(rand: np.random.Generator, compare, opset: int) -> None:
    """The end of an embedder, with everything that exporters put there."""
    g = Graph(rand)
    x = g.batch_norm(g.add("Relu", g.conv("data", 3, 10, 3)), 10)
    x = g.add("Dropout", x, **({"ratio": 0.4} if opset < 12 else {}))
    x = g.add("Reshape", g.add("Identity", x), np.array([-1, 10 * 10 * 8]))
    x = g.add("Gemm", x, g.normal(800, 20, scale=0.05), g.normal(1, 20), alpha=0.5, beta=2.0)
    x = g.add("PRelu", g.batch_norm(x, 20), g.normal(20))
    skip = x
    x = g.add("Add", g.add("MatMul", x, g.normal(20, 20)), g.normal(20))
    compare(g, g.add("Mul", g.add("Add", x, skip), np.array([0.5], np.float32)), opset=opset)


def test_fully_connected_from_the_pixels(rand: np.random.Generator, compare) -> None:
    g = Graph(rand, (3, 5))
    compare(g, head(g, "data", 3, 3, 5))


def test_output_as_a_map_of_one_pixel_is_a_vector(rand: np.random.Generator, tmp_path: Path, isa: str) -> None:
    g = Graph(rand)
    output = g.conv(g.add("Relu", g.conv("data", 3, 7, (12, 10))), 7, 5, 1)
    model = g.model(output)
    onnx.save(model, tmp_path / "m.onnx")
    x = g.normal(6, 3, 12, 10)
    y = Engine(tmp_path / "m.onnx", isa=isa).embed(x, normalize=False)
    assert np.abs(y - reference(model, x)[:, :, 0, 0]).max() < 1e-5


@pytest.mark.parametrize(
    ("metadata", "mean", "std", "colour"),
    [
        ({}, 0.0, 1.0, "rgb"),
        ({"vultus.mean": "127.5", "vultus.std": "128", "vultus.colour": "bgr"}, 127.5, 128.0, "bgr"),
        (
            {"vultus.mean": "123.5 -116.25, 103", "vultus.std": "58.4, 57.0,57.375"},
            (123.5, -116.25, 103),
            (58.4, 57, 57.375),
            "rgb",
        ),
    ],
)
def test_declared_normalisation(rand: np.random.Generator, tmp_path: Path, metadata, mean, std, colour: str) -> None:
    g = Graph(rand)
    model = g.model(head(g, g.conv("data", 3, 8, 3), 8, 10, 8), metadata)
    onnx.save(model, tmp_path / "m.onnx")
    engine = Engine(tmp_path / "m.onnx")
    assert engine.normalisation["colour"] == colour
    chips = rand.integers(0, 256, (4, 12, 10, 3), dtype=np.uint8)
    ordered = chips if colour == "bgr" else chips[..., ::-1]
    x = ((ordered - np.array(mean)) / np.array(std)).astype(np.float32).transpose(0, 3, 1, 2)
    want = reference(model, np.ascontiguousarray(x))
    assert np.abs(engine.embed_chips(chips, normalize=False) - want).max() < 2e-5 * max(1, np.abs(want).max())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", "1,2"),
        ("mean", "x"),
        ("mean", ""),
        ("std", "0"),
        ("std", "1,2,3,4"),
        ("std", "1;2"),
        ("colour", "grey"),
    ],
)
def test_nonsense_in_metadata(rand: np.random.Generator, tmp_path: Path, key: str, value: str) -> None:
    g = Graph(rand)
    onnx.save(g.model(head(g, "data", 3, 12, 10), {f"vultus.{key}": value}), tmp_path / "m.onnx")
    with pytest.raises(ModelFormatError, match=rf"vultus\.{key} is n.* \(byte \d+\)"):
        Engine(tmp_path / "m.onnx")


def refused(g: Graph, output: str, tmp_path: Path, edit: Callable[[onnx.ModelProto], None] | None = None) -> str:
    model = g.model(output)
    if edit:
        edit(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError) as caught:
        Engine(tmp_path / "m.onnx")
    return str(caught.value)


def test_unsupported_and_damaged_are_told_apart(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    path = tmp_path / "m.onnx"
    data = g.model(head(g, g.add("Tan", "data"), 3, 12, 10)).SerializeToString()
    path.write_bytes(data)
    with pytest.raises(UnsupportedModelError, match="the operator Tan is not"):
        Engine(path)
    for damaged in (data[:-9], b"EFM3" + data, b"text"):
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError) as caught:
            Engine(path)
        assert caught.type is ModelFormatError


def test_unknown_operator_is_named(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    text = refused(g, head(g, g.add("Softplus", "data"), 3, 12, 10), tmp_path)
    assert "the operator Softplus is not one of the engine's, which docs/engine.md lists" in text
    assert "(byte" in text
    g = Graph(rand)
    x = g.add("Relu", "data")
    g.nodes[-1].domain = "com.microsoft"
    assert "the operator com.microsoft.Relu" in refused(g, head(g, x, 3, 12, 10), tmp_path)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda g: head(g, g.conv("data", 3, 8, auto_pad="SAME_UPPER"), 8, 12, 10), "has auto_pad SAME"),
        (lambda g: head(g, g.add("Mul", "data", "data"), 3, 12, 10), "works on two computed values"),
        (
            lambda g: head(g, g.add("Add", "data", g.normal(1, 1, 12, 10)), 3, 12, 10),
            "neither one number nor one for each",
        ),
        (lambda g: head(g, g.add("Div", np.ones(1, "f4"), "data"), 3, 12, 10), "divides a constant"),
        (lambda g: head(g, g.add("Div", "data", np.zeros(1, "f4")), 3, 12, 10), "divides by zero"),
        (lambda g: head(g, g.conv("data", 3, 8, 13), 8, 1, 1), "13 x 13 kernel does not fit on a map of 12 x 10"),
        (lambda g: head(g, g.conv("data", 3, 8, 3, strides=[0, 1]), 8, 10, 8), "0, which is outside 1..64"),
        (
            lambda g: head(g, g.conv("data", 3, 8, 3, pads=[1, 1, 1]), 8, 10, 8),
            "the attribute pads of Conv has 3 numbers",
        ),
        (lambda g: head(g, g.conv("data", 3, 8, 3, pads=[1, 1, 1, -1]), 8, 10, 8), "outside 0..64"),
        (lambda g: g.conv("data", 3, 8, 3), "the output is a map of 8 x 10 x 8, not a vector"),
        (lambda g: g.add("Relu", g.add("Flatten", "data")), "flattened map is read by something else"),
        (lambda g: g.add("Flatten", "data"), "the output is the input"),
        (lambda g: g.add("Reshape", "data", np.array([1, 3, 10, 12])), "something else than a vector"),
        (lambda g: head(g, g.add("Relu", "nowhere"), 3, 12, 10), "reads 'nowhere', which nothing before it computes"),
        (
            lambda g: head(g, g.add("Add", "data", g.conv("data", 3, 8, 1)), 3, 12, 10),
            "an addition of 3 x 12 x 10 and 8 x 12 x 10",
        ),
        (lambda g: head(g, g.conv("data", 6, 8, 1), 8, 12, 10), "weight for another number of input channels"),
        (lambda g: head(g, g.conv("data", 3, 8, 1, groups=2, bias=False), 8, 12, 10), "do not divide into 2 groups"),
        (lambda g: head(g, g.add("Flatten", "data", axis=2), 3, 12, 10), "flattens from another axis"),
        (lambda g: head(g, g.batch_norm("data", 5), 3, 12, 10), "has 5 numbers instead of 3"),
        (lambda g: head(g, "data", 3, 12, 11), "a matrix for a vector of another length"),
    ],
)
def test_refused_with_the_reason(
    rand: np.random.Generator, tmp_path: Path, build: Callable[[Graph], str], words: str
) -> None:
    g = Graph(rand)
    assert words in refused(g, build(g), tmp_path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 9), "numbers where its shape has"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 62), "exceeds the limit"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -1), "exceeds the limit"),
        (lambda m: m.graph.initializer[0].dims.extend([1] * 9), "more than 8 dimensions"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.FLOAT16), "has the data type 10"),
        (lambda m: setattr(m.graph.initializer[0], "data_location", TensorProto.EXTERNAL), "in another file"),
        (
            lambda m: setattr(m.graph.initializer[0], "raw_data", np.full(216, np.inf, "f4").tobytes()),
            "not a finite number",
        ),
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].Clear(), "no fixed height and width"),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 1 << 40),
            "no fixed height and width",
        ),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 4),
            "is not n x 3 x height x width",
        ),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 4), "fixed batch"),
        (lambda m: m.graph.input.append(helper.make_tensor_value_info("b", 1, [1, 3, 4, 4])), "a second input, 'b'"),
        (lambda m: m.graph.output.append(helper.make_tensor_value_info("b", 1, [1])), "a second output, 'b'"),
        (lambda m: setattr(m.graph.output[0], "name", "b"), "the output 'b' is not computed"),
        (lambda m: m.graph.input.pop(), "a graph without an input"),
        (lambda m: m.graph.output.pop(), "a graph without an output"),
        (lambda m: m.ClearField("graph"), "a model without a graph"),
        (
            lambda m: setattr(m.graph.node[1], "name", "\n\x1b[31m") or setattr(m.graph.node[1], "op_type", "\x07\n"),
            "operator ?? is not",
        ),
    ],
)
def test_broken_models(
    rand: np.random.Generator, tmp_path: Path, edit: Callable[[onnx.ModelProto], None], words: str
) -> None:
    g = Graph(rand)
    text = refused(g, head(g, g.conv("data", 3, 8), 8, 10, 8), tmp_path, edit)
    assert words in text
    assert "\n" not in text


def test_cut_and_spoilt_files(rand: np.random.Generator, tmp_path: Path) -> None:
    g = Graph(rand)
    good = g.model(head(g, g.batch_norm(g.conv("data", 3, 8), 8), 8, 10, 8)).SerializeToString()
    path = tmp_path / "m.onnx"
    for size in rand.integers(0, len(good) - 20, 60):
        path.write_bytes(good[:size])
        with pytest.raises(ModelFormatError, match=r"\(byte \d+\)$"):
            Engine(path, threads=1)
    for _ in range(300):
        bad = bytearray(good)
        for at in rand.integers(0, len(good), 3):
            bad[at] = rand.integers(0, 256)
        path.write_bytes(bad)
        with contextlib.suppress(ModelFormatError):  # anything else is a failure
            Engine(path, threads=1)


def test_foamliu(shared: Path, rand: np.random.Generator, isa: str) -> None:
    path = shared / "models" / "mobilefacenet_foamliu_128.onnx"
    x = ((rand.integers(0, 256, (3, 3, 112, 112)) - 127.5) / 128).astype(np.float32)
    want = reference(onnx.load(path), x)
    assert np.abs(Engine(path, isa=isa).embed(x, normalize=False) - want).max() < 1e-4


def test_sface(registry, rand: np.random.Generator, isa: str) -> None:
    path = registry.resolve("sface_2021dec", "embedder").path
    chips = rand.integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    rgb = np.ascontiguousarray(chips[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    want = reference(onnx.load(path), rgb)
    want /= np.linalg.norm(want, axis=1, keepdims=True)
    engine = Engine(path, isa=isa)
    assert engine.normalisation == {"mean": (0.0,) * 3, "std": (1.0,) * 3, "colour": "rgb"}
    for got in (engine.embed(rgb), engine.embed_chips(chips)):
        assert 1 - (got * want).sum(1).min() < 1e-5
        assert np.abs(got - want).max() < 2e-5
