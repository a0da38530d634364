"""The Ultra-Light detectors: cut at their heads, at any size, against ONNX Runtime and the boxes of the published graphs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from vultus.native import Network, decode_ultralight
from vultus.pipeline.frames import Image
from vultus.stages.onet import ONet
from vultus.stages.ultralight import UltraLight
from vultus.stages.view import View
from vultus.stages.yunet import YuNet
from vultus.weights import Registry
from vultus.weights.convert import convert
from vultus.weights.errors import ImportFailed
from vultus.weights.onnx_heads import cut

SIZES = {"slim-320": (240, 320), "RFB-320": (240, 320), "RFB-640": (480, 640)}


def published(name: str) -> Path:
    path = Path(__file__).parents[3] / "shared" / "models" / f"version-{name}.onnx"
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(params=SIZES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def onet(mtcnn_registry: Registry) -> Path:
    return mtcnn_registry.resolve("mtcnn_onet", "part").path


@pytest.fixture
def heads(name: str, tmp_path: Path) -> Path:
    """The model, cut."""
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(cut(published(name).read_bytes()))
    return path


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (240, 320), (101, 67), (480, 640)])
def test_heads_at_any_size(size: tuple[int, int], heads: Path, rand: np.random.Generator) -> None:
    x = rand.uniform(-1, 1, (2, 3, *size)).astype(np.float32)
    ours = Network(heads, threads=1).run(x)
    theirs = dict(zip(("scores", "locations"), session(heads).run(["scores", "locations"], {"input": x}), strict=True))
    for output in theirs:
        assert np.abs(ours[output] - theirs[output]).max() < 1e-5 * max(1, np.abs(theirs[output]).max())


def test_decoded_as_the_published_graph_does(name: str, heads: Path, portraits: dict[str, np.ndarray]) -> None:
    height, width = SIZES[name]
    picture = cv2.resize(portraits["t1"], (width, height))
    x = (picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128
    scores, corners = session(published(name)).run(["scores", "boxes"], {"input": np.ascontiguousarray(x)})
    got = Network(heads, threads=1).run(np.ascontiguousarray(picture)[None])
    faces = decode_ultralight(got["scores"], got["locations"], (height, width), 0.0, scores.shape[1])
    faces = np.sort(faces, order="place")
    assert len(faces) == scores.shape[1]
    np.testing.assert_allclose(faces["score"], scores[0, :, 1], atol=1e-5)
    want = corners[0] * [width, height, width, height]
    np.testing.assert_allclose(faces["box"][:, :2], want[:, :2], atol=2e-3)
    np.testing.assert_allclose(faces["box"][:, :2] + faces["box"][:, 2:], want[:, 2:], atol=2e-3)


def test_faces_of_a_photo(heads: Path, onet: Path, portraits: dict[str, np.ndarray]) -> None:
    """Each size finds the person in the middle, where the box moves with the size."""
    detector = UltraLight(heads, onet, threads=1)
    whole = portraits["person_a_1"]
    found = []
    for side in (320, 480, 640):
        scale = side / max(whole.shape[:2])
        boxes, scores = detector.detect(np.asarray(cv2.resize(whole, None, fx=scale, fy=scale), np.uint8))
        assert boxes.shape == (len(scores), 4)
        assert len(scores) >= 1
        assert np.all(np.diff(scores) <= 0)
        found.append(boxes[0] / scale)
    spread = np.ptp(found, axis=0)
    assert spread.max() < 0.25 * found[0][2:].max()
    black, none = detector.detect(np.zeros((64, 80, 3), np.uint8))
    assert black.shape == (0, 4)
    assert none.shape == (0,)


def test_slim_640_comes_from_its_checkpoint(
    shared: Path, tmp_path: Path, onet: Path, portraits: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "slim-640.onnx"
    path.write_bytes(convert(shared / "models" / "version-slim-640.pth", ".onnx").data)
    whole = portraits["person_a_1"]
    boxes, scores = UltraLight(path, onet, threads=1).detect(np.asarray(cv2.resize(whole, (480, 640)), np.uint8))
    assert len(boxes) == 1
    assert scores[0] > 0.9


def test_landmarks_are_onets_and_lie_where_yunet_sees_them(
    heads: Path, onet: Path, yunet: YuNet, portraits: dict[str, np.ndarray]
) -> None:
    """In source pixels, whatever size the picture was shown at; a box in which O-Net sees no face has none."""
    detector = UltraLight(heads, onet, threads=1)
    image = Image(portraits["t1"])
    right = yunet.find(View(image, 640))
    for side, size in ((640, None), (64, (640, 480))):
        found = detector.find(View(image, side, size=size))
        assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
        for face in right:
            eyes = np.linalg.norm(np.subtract(*np.array(face.landmarks)[:2]))
            apart = min(np.abs(np.subtract(face.landmarks, other.landmarks)).mean() for other in found)
            assert apart < 0.2 * eyes
    unsure = UltraLight(heads, onet, threads=1, score=0.02).find(View(image, 320))
    with_landmarks = [len(set(face.landmarks)) == 5 for face in unsure]
    assert with_landmarks[0]
    assert with_landmarks.count(False) >= 3


def test_other_files_are_told(tmp_path: Path, onet: Path) -> None:
    with pytest.raises(ImportFailed, match="not an ONNX file"):
        cut(b"\xff" * 40)
    path = published("slim-320")
    with pytest.raises(ValueError, match="cut at its heads"):
        UltraLight(path, onet, threads=1)
    with pytest.raises(ValueError, match="not MTCNN's O-Net"):
        ONet(path, threads=1)
    model = onnx.load(path)
    del model.graph.output[1]
    with pytest.raises(ImportFailed, match="scores and boxes"):
        cut(model.SerializeToString())
    model = onnx.load(path)
    model.graph.node[-1].op_type = "Relu"
    with pytest.raises(ImportFailed, match="Relu is part of"):
        cut(model.SerializeToString())
