"""INT8 files of others (QLinear operators, com.microsoft's among them, and QDQ) on ONNX Runtime, within the same checks."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.native import ModelFormatError
from vultus.weights import onnx_check, open_embedder
from vultus.weights.onnx_contrib import DOMAIN

ort = pytest.importorskip("onnxruntime")


def small_iresnet(rand: np.random.Generator) -> onnx.ModelProto:
    """What LResNet100E-IR is made of: its normalisation inside, 3x3 convolutions, PReLU, a sum, a linear layer."""
    arrays = {
        "mean": np.full((1, 1, 1, 1), 127.5),
        "step": np.full((1, 1, 1, 1), 1 / 128),
        "w1": rand.standard_normal((8, 3, 3, 3)) * 0.2,
        "slope": rand.uniform(0, 0.5, (8, 1, 1)),
        "w2": rand.standard_normal((8, 8, 3, 3)) * 0.1,
        "w3": rand.standard_normal((16, 8)),
        "b3": rand.standard_normal(16),
    }
    nodes = [
        helper.make_node("Sub", ["data", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "step"], ["x"]),
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("PRelu", ["a", "slope"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1] * 4),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 112, 112])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])
    graph = helper.make_graph(nodes, "g", [data], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def quantised(folder: Path, form: str, rand: np.random.Generator) -> Path:
    """Its INT8 file by ONNX Runtime's quantiser."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        left = 2

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            return {"data": rand.uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)} if self.left >= 0 else None

    onnx.save(small_iresnet(rand), folder / "float.onnx")
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", Reader(), quant_format=getattr(QuantFormat, form), **kinds
    )
    return folder / "int8.onnx"


@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
def test_int8_files_of_the_field_run(form: str, tmp_path: Path, rand: np.random.Generator) -> None:
    path = quantised(tmp_path, form, rand)
    operators = {node.op_type for node in onnx.load(path).graph.node if node.domain == DOMAIN}
    assert operators == (
        {"QLinearAdd", "QLinearMul", "QLinearGlobalAveragePool", "QGemm"} if form == "QOperator" else set()
    )
    chips = rand.integers(0, 256, (3, 112, 112, 3), np.uint8)
    x = np.ascontiguousarray(chips[..., ::-1].transpose(0, 3, 1, 2), np.float32)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"data": x})[0]
    given = open_embedder(path, threads=1, backend="onnx").embed_chips(chips, normalize=False)
    assert np.abs(given - wanted).max() < 0.02 * np.abs(wanted).max(), "more than a step or two of 255"


def test_what_has_no_standard_writing_is_refused_by_name(rand: np.random.Generator) -> None:
    model = small_iresnet(rand)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    model.graph.node[5].domain, model.graph.node[5].op_type = DOMAIN, "FusedConv"
    with pytest.raises(ModelFormatError, match=r"m.onnx: the operator com.microsoft.FusedConv is no standard one"):
        onnx_check.parse(model.SerializeToString(), "m.onnx")
    model.graph.node[5].op_type = "QGemm"
    model.graph.node[5].input.extend(["scale", "", "w3", "gone", "", ""])
    with pytest.raises(ModelFormatError, match=r"m.onnx: .*is no constant"):
        onnx_check.parse(model.SerializeToString(), "m.onnx")
