"""By whose landmarks faces are aligned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from vultus.configs.schema import Config, Detect, Models
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Chips, Face, Tracked, TrackedFace
from vultus.stages import align
from vultus.stages.finder import FaceFinder
from vultus.stages.landmarks import open_landmarks, relocated
from vultus.stages.onet import ONet
from vultus.stages.quality import quality
from vultus.stages.registry import models
from vultus.stages.yunet import YuNet
from vultus.weights import ModelMissing, Registry

OWN = Config(detect=Detect(landmarks="own"))
POINTS = ((12.0, 12.0), (28.0, 12.0), (20.0, 20.0), (14.0, 28.0), (26.0, 28.0))


@pytest.fixture
def onet(registry: Registry, data_home: Path) -> ONet:
    opened = open_landmarks(Config(), data_home)
    assert opened is not None
    return opened


def test_boxes_stay_and_landmarks_are_those_of_onet(onet: ONet, portraits: dict[str, np.ndarray], yunet: YuNet) -> None:
    own = yunet.detect(portraits["t1"])
    moved = relocated(onet, Image(portraits["t1"]), own)
    assert [(face.box, face.score) for face in moved] == [(face.box, face.score) for face in own]
    for before, after in zip(own, moved, strict=True):
        eyes = np.linalg.norm(np.subtract(*before.landmarks[:2]))
        off = np.linalg.norm(np.subtract(before.landmarks, after.landmarks), axis=1) / eyes
        assert 0 < off.max() < 0.35


def test_where_onet_sees_no_face_the_own_landmarks_stay(onet: ONet) -> None:
    face = Face(box=(0.0, 0.0, 40.0, 40.0), landmarks=POINTS, score=0.9)
    beyond = replace(face, box=(900.0, 900.0, 40.0, 40.0))
    grey = Image(np.full((64, 64, 3), 90, np.uint8))
    assert relocated(onet, grey, [face, beyond]) == [face, beyond]
    assert relocated(onet, grey, []) == []


def test_points_that_give_no_chip_are_not_taken(onet: ONet, portraits: dict[str, np.ndarray], yunet: YuNet) -> None:
    face = yunet.detect(portraits["person_a_1"])[0]
    x, y, width, height = face.box
    speck = replace(face, box=(x + width / 2, y + height / 2, 1.0, 1.0), landmarks=POINTS)
    assert relocated(onet, Image(portraits["person_a_1"]), [speck]) == [speck]


@pytest.mark.parametrize("landmarks", ["onet", "own"])
def test_chips_are_cut_and_told_by_the_landmarks_that_are_configured(
    landmarks: Any, make: Any, frame: Any, onet: ONet, portraits: dict[str, np.ndarray], yunet: YuNet
) -> None:
    image = portraits["t1"]
    own = yunet.detect(image)
    wanted = relocated(onet, Image(image), own) if landmarks == "onet" else own
    faces = tuple(TrackedFace(face=face, track=n, quality=quality(image, face)) for n, face in enumerate(own, 1))
    stage = make("align", detect=Detect(landmarks=landmarks))
    (chips,) = stage.process([Tracked(origin=frame(image).origin, image=Image(image), faces=faces)])
    assert isinstance(chips, Chips)
    assert [one.face for one in chips.faces] == wanted
    assert [one.track for one in chips.faces] == [one.track for one in faces]
    for one, chip in zip(chips.faces, chips.chips, strict=True):
        assert (chip == align.cut(Image(image), one.face.landmarks)).all()
    assert [one.found or one.face.landmarks for one in chips.faces] == [face.landmarks for face in own]
    assert [one.quality for one in chips.faces] == [one.quality for one in faces], "judged before, by the detector's"


def test_the_same_face_under_both_is_one_person_by_far(
    registry: Registry, data_home: Path, portraits: dict[str, np.ndarray]
) -> None:
    """A gallery that was filled with the one may be asked with the other."""
    found = []
    for config in (Config(), OWN):
        with FaceFinder(config, data_home) as finder:
            found.append([face.vector for face in finder.find(portraits["t1"])])
            threshold = finder.threshold
    cosines = np.stack(found[0]) @ np.stack(found[1]).T
    assert np.diag(cosines).min() > 2 * threshold
    assert (cosines - 2 * np.eye(len(cosines))).max() < threshold


def test_a_detector_that_has_them_from_onet_keeps_them(mtcnn_registry: Registry, data_home: Path) -> None:
    assert open_landmarks(Config(models=Models(detector="mtcnn")), data_home) is None
    assert open_landmarks(OWN, data_home) is None


def test_a_missing_onet_is_named_with_the_command(registry: Registry, data_home: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for model in ("yunet_2023mar", "sface_2021dec"):
        (tmp_path / "models" / f"{model}.onnx").symlink_to(data_home / "models" / f"{model}.onnx")
    with pytest.raises(ModelMissing, match=r"^mtcnn_onet is not on this machine; `vultus models pull mtcnn_onet`"):
        FaceFinder(data=tmp_path).open()
    with pytest.raises(ModelMissing, match="vultus models pull mtcnn_onet"):
        open_landmarks(Config(), tmp_path)
    with FaceFinder(OWN, tmp_path) as finder:
        assert finder.model.name == "sface_2021dec"


def test_another_host_that_detects_needs_onet_only_with_detectors_that_do(
    mtcnn_registry: Registry, data_home: Path
) -> None:
    onet = mtcnn_registry.resolve("mtcnn_onet", "part").fingerprint
    assert "mtcnn_onet" not in models("detect", Config(), data_home)
    assert models("detect", Config(models=Models(detector="mtcnn")), data_home)["mtcnn_onet"] == onet
