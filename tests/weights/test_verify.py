"""Judges of the engine: that they agree on what is right, see what is wrong, and say who could not judge."""

from pathlib import Path

import efm3_reference as efm3
import numpy as np
import onnx
import pytest
from cli_process import Run
from onnx import TensorProto, helper, numpy_helper

from vultus.native import ModelFormatError
from vultus.weights import mobilefacenet
from vultus.weights.as_onnx import as_onnx
from vultus.weights.errors import ImportFailed
from vultus.weights.verify import EMBEDDER_TOLERANCE, verify

SHAPE = efm3.Shape(stem=16, block=16, final=32, dim=8, stages=((2, 2, 2), (2, 1, 2), (1, 1, 2)))


@pytest.fixture
def layers(rand: np.random.Generator) -> list[efm3.Layer]:
    return efm3.make_layers(SHAPE, rand)


@pytest.fixture
def model(layers: list[efm3.Layer], tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(efm3.write(SHAPE, layers))
    return path


def test_an_efm3_file_becomes_the_same_network_in_onnx(
    model: Path, layers: list[efm3.Layer], rand: np.random.Generator
) -> None:
    from onnx.reference import ReferenceEvaluator

    x = rand.uniform(-1, 1, (1, 3, 112, 112)).astype(np.float32)
    (y,) = ReferenceEvaluator(as_onnx(model)).run(None, {"data": x})
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    assert np.abs(y - efm3.compute(layers, x)).max() < 1e-5


def test_an_efm3_file_of_another_version_is_not_exported(model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[4] = 4
    with pytest.raises(ImportFailed, match="version 3"):
        mobilefacenet.from_efm3(bytes(data))


def test_judges_agree_with_every_kind_of_kernels(model: Path) -> None:
    verdict = verify(model, samples=2, seed=3)
    assert verdict.holds
    assert verdict.tolerance == EMBEDDER_TOLERANCE
    assert {one.judge.split()[0] for one in verdict.differences} == {"float64", "ONNX"}
    assert {one.isa for one in verdict.differences} >= {"scalar"}
    for one in verdict.differences:
        assert one.cosine is not None
        assert one.cosine > 1 - 1e-9
    assert not verify(model, samples=1, tolerance=1e-12).holds


@pytest.mark.slow
def test_a_network_of_other_weights_is_seen(
    model: Path, layers: list[efm3.Layer], rand: np.random.Generator, tmp_path: Path, vultus: Run
) -> None:
    exported = tmp_path / "exported.onnx"
    onnx.save(mobilefacenet.from_efm3(model.read_bytes()), exported)
    same = vultus("models", "verify", model, "--against", exported, "--samples", "1", "--json").json[0]
    assert same["state"] == "ok"
    assert 0 < same["largest"] < same["tolerance"]
    layers[0].weight[0] *= 1.05
    model.write_bytes(efm3.write(SHAPE, layers))
    told = vultus("models", "verify", model, "--against", exported, "--samples", "1", code=1)
    assert "wrong" in told.out
    assert "float64" in told.out
    assert "scalar" in told.out
    vultus("models", "verify", model, "--against", exported, "--samples", "1", "--tolerance", "0.1")


def test_a_detector(tmp_path: Path, rand: np.random.Generator) -> None:
    weight = rand.standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["map"], pads=[1] * 4),
        helper.make_node("Sigmoid", ["map"], ["score"]),
    ]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 16, 24])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("map", "score")]
    graph = helper.make_graph(nodes, "g", [data], outs, [numpy_helper.from_array(weight, "w")])
    path = tmp_path / "d.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    verdict = verify(path)
    assert verdict.holds
    assert {one.output for one in verdict.differences} == {"map", "score"}
    assert all(one.cosine is None for one in verdict.differences)


def test_without_onnx_runtime_it_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vultus.weights.verify.installed", lambda: None)
    verdict = verify(model, samples=1)
    assert verdict.holds
    assert "vultus[onnx]" in verdict.left_out["ONNX Runtime"]
    assert {one.judge.split()[0] for one in verdict.differences} == {"float64"}


@pytest.mark.slow
def test_damaged_and_missing(model: Path, tmp_path: Path, vultus: Run) -> None:
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ModelFormatError):
        verify(model)
    told = {
        row["name"]: row for row in vultus("models", "verify", model, "nowhere", "sface_2021dec", "--json", code=1).json
    }
    assert [row["state"] for row in told.values()] == ["wrong", "missing", "ok"]
    assert "byte" in told[str(model)]["detail"]
    assert "sface_2021dec" in told["nowhere"]["detail"]
    assert "--against" in vultus("models", "verify", "--against", model, code=2).err


def test_an_old_operator_set(tmp_path: Path, rand: np.random.Generator) -> None:
    """Batch norms as PyTorch wrote them in opset 9, and a Reshape whose target the graph computes."""
    constants = {
        "w": rand.standard_normal((4, 3, 3, 3)),
        "s": rand.uniform(0.5, 1.5, 4),
        "b": rand.standard_normal(4),
        "m": rand.standard_normal(4),
        "v": rand.uniform(0.5, 1.5, 4),
    }
    zero, rows, columns = (numpy_helper.from_array(np.array(value)) for value in (0, -1, 2))
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["c"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Transpose", ["n"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Shape", ["t"], ["shape"]),
        helper.make_node("Constant", [], ["zero"], value=zero),
        helper.make_node("Gather", ["shape", "zero"], ["first"]),
        helper.make_node("Constant", [], ["rows"], value=rows),
        helper.make_node("Constant", [], ["columns"], value=columns),
        *(helper.make_node("Unsqueeze", [x], [f"{x}_1"], axes=[0]) for x in ("first", "rows", "columns")),
        helper.make_node("Concat", ["first_1", "rows_1", "columns_1"], ["target"], axis=0),
        helper.make_node("Reshape", ["t", "target"], ["y"]),
    ]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 16, 24])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", [data], [out], weights), ir_version=4)
    del model.opset_import[:]
    model.opset_import.add(version=9)
    path = tmp_path / "old.onnx"
    onnx.save(model, path)
    verdict = verify(path)
    assert verdict.holds, verdict
    assert not verdict.left_out
