"""INT8 as ONNX: a graph with QuantizeLinear and DequantizeLinear, that ONNX Runtime computes too, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from vultus.native import Engine, UnsupportedModelError
from vultus.weights import ImportFailed
from vultus.weights.quantise import declared, quantise

SIDE = 32


def conv(name: str, rand: np.random.Generator, shape: tuple[int, ...]) -> list[onnx.TensorProto]:
    weight = rand.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
    bias = rand.normal(0, 0.1, shape[0]).astype(np.float32)
    return [numpy_helper.from_array(weight, f"{name}.w"), numpy_helper.from_array(bias, f"{name}.b")]


@pytest.fixture
def fp32(rand: np.random.Generator) -> bytes:
    """A block as MobileNets have it, with a residual, ReLU6 and PReLU: 3 x 32 x 32 to 40 numbers."""
    shapes = {"a": (20, 3, 3, 3), "b": (48, 20, 1, 1), "c": (48, 1, 3, 3), "d": (20, 48, 1, 1), "e": (40, 20, 16, 16)}
    slope = numpy_helper.from_array(rand.uniform(0, 0.5, (48, 1, 1)).astype(np.float32), "slope")
    bounds = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("lo", 0), ("hi", 6))]

    def node(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [output], **attributes)

    nodes = [
        node("Conv", ["data", "a.w", "a.b"], "a", strides=[2, 2], pads=[1] * 4),
        node("Conv", ["a", "b.w", "b.b"], "b"),
        node("PRelu", ["b", "slope"], "b1"),
        node("Conv", ["b1", "c.w", "c.b"], "c", pads=[1] * 4, group=48),
        node("Clip", ["c", "lo", "hi"], "c1"),
        node("Conv", ["c1", "d.w", "d.b"], "d"),
        node("Add", ["a", "d"], "sum"),
        node("Conv", ["sum", "e.w", "e.b"], "e"),
        node("Flatten", ["e"], "out"),
    ]
    constants = [slope, *bounds, *(each for name, shape in shapes.items() for each in conv(name, rand, shape))]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 40])
    model = helper.make_model(
        helper.make_graph(nodes, "block", [data], [out], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {"vultus.mean": "127.5", "vultus.std": "128"})
    return bytes(model.SerializeToString())


@pytest.fixture
def chips(rand: np.random.Generator) -> np.ndarray:
    return rand.integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)


def test_the_engine_and_onnx_runtime_agree_on_the_file(fp32: bytes, chips: np.ndarray, tmp_path: Path) -> None:
    data = quantise(fp32, chips, goal=0)
    before, after = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    before.write_bytes(fp32)
    after.write_bytes(data)
    engine = Engine(after)
    assert engine.precision == "int8"
    assert sum("int8" in line for line in engine.layers) == 3
    x = ((chips[..., ::-1].astype(np.float32) - np.float32(127.5)) / 128).transpose(0, 3, 1, 2)
    options = onnxruntime.SessionOptions()
    # Else it computes bytes in its own way, whose sums of pairs are cut off on processors like this one.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    judged = session.run(None, {"data": np.ascontiguousarray(x)})[0]
    judged /= np.linalg.norm(judged, axis=1, keepdims=True)
    answers = engine.embed_chips(chips)
    assert (judged * answers).sum(1).min() >= 0.9999  # a value between two bytes may go either way
    assert np.median((Engine(before).embed_chips(chips) * answers).sum(1)) >= 0.99


class Faces(CalibrationDataReader):
    def __init__(self, x: np.ndarray) -> None:
        self.left = iter([{"data": x}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["one_scale", "per_channel"])
def test_what_the_quantiser_of_onnx_runtime_writes(
    fp32: bytes, chips: np.ndarray, tmp_path: Path, signed: bool, per_channel: bool
) -> None:
    """Biases are int32 there, zero points are not raw bytes, and activations have 7 bits (reduce_range)."""
    x = ((chips[..., ::-1].astype(np.float32) - np.float32(127.5)) / 128).transpose(0, 3, 1, 2)
    after = tmp_path / "int8.onnx"
    quantize_static(
        onnx.load_from_string(fp32),
        after,
        Faces(np.ascontiguousarray(x)),
        per_channel=per_channel,
        reduce_range=True,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
    )
    biases = [each for each in onnx.load(after).graph.initializer if each.data_type == TensorProto.INT32]
    assert len(biases) >= 5
    engine = Engine(after)
    assert engine.precision == "int8"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(after, options, providers=["CPUExecutionProvider"])
    judged = session.run(None, {"data": np.ascontiguousarray(x)})[0]
    judged /= np.linalg.norm(judged, axis=1, keepdims=True)
    assert (judged * engine.embed_chips(chips)).sum(1).min() >= 0.999  # its own bytes, where one may go either way


def test_a_value_may_be_read_as_bytes_and_as_floats(fp32: bytes, chips: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantise(fp32, chips, goal=1))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    engine = Engine(path, precision="int8")
    assert 0 < sum("int8" in line for line in engine.layers) < 3
    judged = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = ((chips[..., ::-1].astype(np.float32) - np.float32(127.5)) / 128).transpose(0, 3, 1, 2)
    expected = judged.run(None, {"data": np.ascontiguousarray(x)})[0]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (expected * engine.embed_chips(chips)).sum(1).min() >= 0.999  # ONNX Runtime multiplies bytes in its own way


def test_what_is_refused(fp32: bytes, chips: np.ndarray) -> None:
    with pytest.raises(ImportFailed, match="quantised already"):
        quantise(quantise(fp32, chips, goal=0), chips)
    with pytest.raises(ImportFailed, match="says its own normalisation"):
        declared(fp32, mean="0")
    model = onnx.load_from_string(fp32)
    del model.graph.node[1:]
    model.graph.node.append(helper.make_node("Flatten", ["a"], ["out"]))
    with pytest.raises(ImportFailed, match="no convolution in it"):
        quantise(model.SerializeToString(), chips)


def named(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op)


def constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    next(each for each in model.graph.initializer if each.name == name).CopyFrom(numpy_helper.from_array(value, name))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: constant(m, "b1.scale", np.array(0, np.float32)), "a scale of activations of 0"),
        (lambda m: constant(m, "b.no_shift", np.ones(48, np.int8)), "weights with a zero point"),
        (lambda m: constant(m, "b1.zero", np.array(3, np.uint16)), "something else than bytes"),
        (lambda m: m.graph.node.remove(named(m, "DequantizeLinear")), "which nothing before it computes"),
    ],
    ids=["scale", "zero_point_of_weights", "words", "missing"],
)
def test_what_the_reader_refuses(
    fp32: bytes, chips: np.ndarray, tmp_path: Path, edit: Callable[[onnx.ModelProto], object], words: str
) -> None:
    model = onnx.load_from_string(quantise(fp32, chips, goal=0))
    edit(model)
    path = tmp_path / "bad.onnx"
    onnx.save(model, path)
    with pytest.raises((UnsupportedModelError, ValueError), match=words):
        Engine(path)


def test_faces_of_a_batch_do_not_meet(tmp_path: Path, rand: np.random.Generator) -> None:
    """Dense 3x3 convolutions run for several faces at a time, between layers in bytes: each has a map of its own."""
    arrays: dict[str, tuple[int, ...]] = {"a": (64, 3, 3, 3), "b": (128, 64, 1, 1), "c": (128, 64, 3, 3)}
    arrays |= {"d": (128, 128, 3, 3), "f": (40, 128, 4, 4)}
    nodes = [
        helper.make_node("Conv", ["data", "a.w", "a.b"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "c.w", "c.b"], ["c"], pads=[1] * 4),
        helper.make_node("Conv", ["c", "d.w", "d.b"], ["d"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Conv", ["a", "b.w", "b.b"], ["b"], strides=[2, 2]),
        helper.make_node("Add", ["d", "b"], ["e"]),
        helper.make_node("Conv", ["e", "f.w", "f.b"], ["f"]),
    ]
    constants = [one for name, shape in arrays.items() for one in conv(name, rand, shape)]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 8, 8])
    out = helper.make_tensor_value_info("f", TensorProto.FLOAT, ["n", 40, 1, 1])
    graph = helper.make_graph(nodes, "g", [data], [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    chips = rand.integers(0, 256, (9, 8, 8, 3), np.uint8)
    (tmp_path / "m.onnx").write_bytes(quantise(model.SerializeToString(), chips, goal=0))
    engine = Engine(tmp_path / "m.onnx", threads=1)
    single = np.concatenate([engine.embed_chips(chips[i : i + 1]) for i in range(len(chips))])
    assert engine.precision == "int8"
    np.testing.assert_allclose(engine.embed_chips(chips), single, atol=2e-6)
