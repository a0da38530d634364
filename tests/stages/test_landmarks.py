"""O-Net's landmarks in place of a detector's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from vultus.configs.schema import Config, Detect, Models
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face
from vultus.stages.detector import open_detector
from vultus.stages.landmarks import Relocated
from vultus.stages.mtcnn import Mtcnn
from vultus.stages.registry import models
from vultus.stages.view import View
from vultus.weights import ModelMissing, Registry

ONET = Detect(landmarks="onet")


class Told:
    """A detector that finds what it is told."""

    def __init__(self, faces: list[Face]) -> None:
        self.faces = faces

    def find(self, view: View) -> list[Face]:
        return self.faces


def test_boxes_stay_and_landmarks_are_those_of_onet(
    mtcnn_registry: Registry, data_home: Path, portraits: dict[str, np.ndarray]
) -> None:
    view = View(Image(portraits["t1"]), 1280)
    own = open_detector(Config(), data_home).find(view)
    moved = open_detector(Config(detect=ONET), data_home).find(view)
    assert [(face.box, face.score) for face in moved] == [(face.box, face.score) for face in own]
    for before, after in zip(own, moved, strict=True):
        eyes = np.linalg.norm(np.subtract(*before.landmarks[:2]))
        off = np.linalg.norm(np.subtract(before.landmarks, after.landmarks), axis=1) / eyes
        assert 0 < off.max() < 0.35


def test_where_onet_sees_no_face_the_own_landmarks_stay(mtcnn_registry: Registry) -> None:
    points = ((12.0, 12.0), (28.0, 12.0), (20.0, 20.0), (14.0, 28.0), (26.0, 28.0))
    face = Face(box=(0.0, 0.0, 40.0, 40.0), landmarks=points, score=0.9)
    beyond = replace(face, box=(900.0, 900.0, 40.0, 40.0))
    view = View(Image(np.full((64, 64, 3), 90, np.uint8)), 640)
    onet = mtcnn_registry.resolve("mtcnn_onet", "part").path
    assert Relocated(Told([face, beyond]), onet, threads=1).find(view) == [face, beyond]
    assert Relocated(Told([]), onet, threads=1).find(view) == []


def test_a_detector_that_has_them_from_onet_is_as_before(mtcnn_registry: Registry, data_home: Path) -> None:
    assert isinstance(open_detector(Config(models=Models(detector="mtcnn"), detect=ONET), data_home), Mtcnn)


def test_a_missing_onet_is_named_with_the_command(registry: Registry, data_home: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "yunet_2023mar.onnx").symlink_to(data_home / "models" / "yunet_2023mar.onnx")
    with pytest.raises(ModelMissing, match="models pull mtcnn_onet"):
        open_detector(Config(detect=ONET), tmp_path)


def test_another_host_has_to_have_the_same_onet(mtcnn_registry: Registry, data_home: Path) -> None:
    onet = mtcnn_registry.resolve("mtcnn_onet", "part").fingerprint
    assert "mtcnn_onet" not in models("detect", Config(), data_home)
    assert models("detect", Config(detect=ONET), data_home)["mtcnn_onet"] == onet
    assert models("detect", Config(models=Models(detector="mtcnn")), data_home)["mtcnn_onet"] == onet
