"""SCRFD's topology with random weights: the engine against ONNX Runtime, and our decoding against a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.pipeline.frames import Image
from vultus.stages.scrfd import Scrfd
from vultus.stages.view import View
from vultus.weights import LicenceNotAccepted, Registry

STRIDES = (8, 16, 32)
METADATA = {"vultus.colour": "rgb", "vultus.mean": "127.5", "vultus.std": "128"}


class Net:
    """As PyTorch exports it: sizes of one map computed from another's, heads with the image behind rows and columns."""

    def __init__(self, rand: np.random.Generator) -> None:
        self.rand = rand
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str | np.ndarray, **attributes: object) -> str:
        names = []
        for value in inputs:
            if not isinstance(value, str):
                self.constants.append(numpy_helper.from_array(value, f"k{len(self.constants)}"))
                value = self.constants[-1].name
            names.append(value)
        self.nodes.append(helper.make_node(op, names, [f"{len(self.nodes)}"], **attributes))
        return f"{len(self.nodes) - 1}"

    def conv(self, x: str, before: int, after: int, stride: int = 1, k: int = 3, bias: float = 0.0) -> str:
        weight = self.rand.normal(0, (2 / before) ** 0.5 / k, (after, before, k, k)).astype(np.float32)
        bias_ = np.full(after, bias, np.float32)
        return self.add("Conv", x, weight, bias_, strides=[stride] * 2, pads=[k // 2] * 4, kernel_shape=[k, k])

    def shrunk(self, x: str, before: int, after: int) -> str:
        """A residual block whose short way is averaged down, as those of 2.5g and 10g."""
        short = self.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=0)
        way = self.conv(self.add("Relu", self.conv(x, before, after, 2)), after, after)
        return self.add("Relu", self.add("Add", way, self.conv(short, before, after, k=1)))

    def enlarged(self, x: str, like: str) -> str:
        wanted = self.add("Slice", self.add("Shape", like), np.array([2]), np.array([4]), np.array([0]))
        own = self.add("Slice", self.add("Shape", x), np.array([0]), np.array([2]), np.array([0]))
        sizes = self.add("Concat", own, wanted, axis=0)
        how = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        return self.add("Resize", x, "", "", sizes, **how)

    def head(self, x: str, columns: int) -> str:
        out = self.conv(x, 12, 2 * columns, bias=-1.0 if columns == 1 else 1.0)
        if columns == 4:
            out = self.add("Mul", out, np.float32([0.8]))
        rows = self.add("Reshape", self.add("Transpose", out, perm=[2, 3, 0, 1]), np.array([-1, columns]))
        return self.add("Sigmoid", rows) if columns == 1 else rows

    def save(self, path: Path) -> Path:
        stem = self.add("Relu", self.conv("input.1", 3, 8, 2))
        x = self.add("MaxPool", stem, kernel_shape=[2, 2], strides=[2, 2])
        levels = [x := self.shrunk(x, before, 12) for before in (8, 12, 12)]
        for i in (1, 0):
            levels[i] = self.add("Add", levels[i], self.enlarged(levels[i + 1], levels[i]))
        outputs = [self.head(level, columns) for columns in (1, 4, 10) for level in levels]
        entry = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "?h", "?w"])
        columns = {name: (1, 4, 10)[i // 3] for i, name in enumerate(outputs)}
        exits = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, k]) for name, k in columns.items()]
        graph = helper.make_graph(self.nodes, "scrfd", [entry], exits, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, METADATA)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        return path


@pytest.fixture
def file(rand: np.random.Generator, tmp_path: Path) -> Path:
    return Net(rand).save(tmp_path / "scrfd.onnx")


def by_hand(path: Path, image: np.ndarray, score: float, iou: float) -> list[np.ndarray]:
    """Rows of score, left, top, right, bottom and ten numbers, as SCRFD's own program has them, best first."""
    x = ((image[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    heads = session.run(None, {"input.1": np.ascontiguousarray(x)})
    rows = []
    for level, stride in enumerate(STRIDES):
        for i, (one, box, points) in enumerate(zip(*heads[level::3], strict=True)):
            if one[0] < score:
                continue
            cell = i // 2
            x0, y0 = cell % (image.shape[1] // stride) * stride, cell // (image.shape[1] // stride) * stride
            left, top, right, bottom = box * stride
            far = (points.reshape(5, 2) * stride + (x0, y0)).ravel()
            rows.append(np.array([one[0], x0 - left, y0 - top, x0 + right, y0 + bottom, *far]))
    kept: list[np.ndarray] = []
    for row in sorted(rows, key=lambda row: -float(row[0])):
        for other in kept:
            sides = np.minimum(row[3:5], other[3:5]) - np.maximum(row[1:3], other[1:3])
            shared = np.maximum(sides, 0).prod()
            if shared > iou * ((row[3:5] - row[1:3]).prod() + (other[3:5] - other[1:3]).prod() - shared):
                break
        else:
            kept.append(row)
    return kept


@pytest.mark.parametrize("size", [(64, 96), (160, 128)])
def test_the_same_faces_as_by_hand(size: tuple[int, int], file: Path, rand: np.random.Generator) -> None:
    image = rand.integers(0, 256, (*size, 3), np.uint8)
    score = 0.3
    theirs = by_hand(file, image, score, 0.4)
    assert len(theirs) > 5, "else this shows nothing"
    detector = Scrfd(file, threads=1, score=score, backend="engine")
    ours = detector.detect(image)
    assert len(ours) == len(theirs)
    for face, row in zip(ours, theirs, strict=True):
        assert face["score"] == pytest.approx(row[0], abs=1e-5)
        corners = [*face["box"][:2], *(face["box"][:2] + face["box"][2:])]
        np.testing.assert_allclose(corners, row[1:5], atol=0.01)
        np.testing.assert_allclose(face["landmarks"].ravel(), row[5:], atol=0.01)
    found = detector.find(View(Image(image[:-3, :-5]), 1000))
    assert all(np.isfinite([*face.box, *sum(face.landmarks, ())]).all() for face in found)
    assert Scrfd(file, threads=1, score=1.0).detect(image).shape == (0,)


def test_other_files_are_told(file: Path, mtcnn_registry: Registry) -> None:
    with pytest.raises(ValueError, match="not an SCRFD detector with landmarks: no scores of stride 8"):
        Scrfd(mtcnn_registry.path("yunet_2023mar"), threads=1)
    model = onnx.load(file)
    del model.graph.output[8]
    onnx.save(model, file)
    with pytest.raises(ValueError, match="not an SCRFD detector"):
        Scrfd(file, threads=1)


def test_nothing_runs_before_its_licence_is_accepted(tmp_path: Path) -> None:
    for name in ("scrfd_500m", "scrfd_2.5g", "scrfd_10g"):
        with pytest.raises(LicenceNotAccepted, match="not for commercial use"):
            Registry(tmp_path).pull([name], tmp_path)
