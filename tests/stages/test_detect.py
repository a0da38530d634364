"""Detection, alignment and quality against OpenCV's FaceDetectorYN and FaceRecognizerSF, on real faces."""

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from vultus.configs.schema import Config
from vultus.configs.schema import Detect as Limits
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Chips, Detections, Face, Tracked, TrackedFace
from vultus.stages import align
from vultus.stages.align import Align
from vultus.stages.detect import Detect
from vultus.stages.detector import look
from vultus.stages.quality import grade, pose, quality, sharpness
from vultus.stages.yunet import YuNet
from vultus.weights import Registry


def overlap(a: Any, b: Any) -> float:
    low = np.maximum(a[:2], b[:2])
    high = np.minimum(np.add(a[:2], a[2:]), np.add(b[:2], b[2:]))
    common = float(np.clip(high - low, 0, None).prod())
    return common / (a[2] * a[3] + b[2] * b[3] - common)


@pytest.fixture(scope="module")
def opencv(registry: Registry) -> Any:
    """OpenCV's own detector on the same file."""
    path = str(registry.resolve(Config().models.detector).path)

    def detect(image: np.ndarray) -> np.ndarray:
        size = (image.shape[1], image.shape[0])
        found = cv2.FaceDetectorYN.create(path, "", size, 0.7, 0.3).detect(image)[1]
        return np.empty((0, 15), np.float32) if found is None else found

    return detect


@pytest.mark.parametrize("scale", [1.0, 0.37, 1.13])
def test_same_faces_as_opencv(scale: float, portraits: dict[str, np.ndarray], yunet: YuNet, opencv: Any) -> None:
    seen = 0
    for name, whole in portraits.items():
        image = cv2.resize(whole, None, fx=scale, fy=scale)
        ours, theirs = yunet.detect(image), opencv(image)
        assert len(ours) == len(theirs), name
        for face, row in zip(ours, theirs, strict=True):
            seen += 1
            assert overlap(np.array(face.box), row[:4]) > 0.95, name
            assert face.score == pytest.approx(float(row[14]), abs=0.01)
            assert np.abs(np.array(face.landmarks).ravel() - row[4:14]).max() < 0.02 * face.box[2]
    assert seen >= 12


def test_found_at_a_smaller_size_and_told_in_source_pixels(portraits: dict[str, np.ndarray], yunet: YuNet) -> None:
    group = portraits["t1"]
    whole, small = yunet.detect(group), look(yunet, Image(group), 640)
    assert len(small) == len(whole) == 6
    for face in whole:
        assert max(overlap(np.array(face.box), np.array(other.box)) for other in small) > 0.8


def test_nothing_is_enlarged(yunet: YuNet, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(yunet, "detect", lambda image: sizes.append(image.shape[:2]) or [])
    for shape in ((100, 50), (640, 480), (641, 480), (3000, 4), (1, 1)):
        look(yunet, Image(np.zeros((*shape, 3), np.uint8)), 640)
    assert sizes == [(100, 50), (640, 480), (640, 479), (640, 1), (1, 1)]


@pytest.fixture
def detect(registry: Registry, data_home: Path, surroundings: Any) -> Any:
    stages = []

    def make(**limits: Any) -> Detect:
        stage = Detect(Config(detect=Limits(**limits)), data_home)
        stage.open(surroundings.context)
        stages.append(stage)
        return stage

    yield make
    for stage in stages:
        stage.close()


def faces_of(stage: Detect, frame: Any) -> list[Face]:
    (message,) = list(stage.process([frame]))
    assert isinstance(message, Detections)
    return list(message.faces)


def test_small_faces_are_counted_and_left_out(
    portraits: dict[str, np.ndarray], detect: Any, frame: Any, surroundings: Any
) -> None:
    whole = portraits["person_a_2"]
    small = cv2.resize(whole, None, fx=0.08, fy=0.08, interpolation=cv2.INTER_AREA)
    (face,) = faces_of(detect(min_face=10), frame(small, still=True))
    assert 15 < min(face.box[2:]) < 30
    assert faces_of(detect(min_face=40), frame(small, still=True)) == []
    assert surroundings.counts["too_small"] >= 1


def test_a_face_that_fills_the_photo(
    portraits: dict[str, np.ndarray], detect: Any, frame: Any, surroundings: Any, yunet: YuNet
) -> None:
    tight = []
    for name in ("impostor_1", "impostor_2", "person_a_2", "person_b_1", "person_b_2"):
        x, y, w, h = map(int, look(yunet, Image(portraits[name]), 1280)[0].box)
        crop = portraits[name][y : y + h, x : x + w]
        tight.append(cv2.resize(crop, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
    stage = detect()
    still = [faces_of(stage, frame(picture, still=True)) for picture in tight]
    assert [len(faces) for faces in still] == [1] * 5
    looks = surroundings.counts["second_look"]
    assert looks, "else this test shows nothing"
    for picture, (face,) in zip(tight, still, strict=True):
        assert overlap(np.array(face.box), np.array([0, 0, *picture.shape[1::-1]])) > 0.6
    assert faces_of(stage, frame(np.zeros_like(tight[0]))) == []
    assert surroundings.counts["second_look"] == looks, "videos are not looked at twice"


def test_pictures_of_any_shape(detect: Any, frame: Any, rand: np.random.Generator) -> None:
    stage = detect()
    for shape in ((1, 1), (1, 3000), (3000, 1), (31, 33), (5, 2000), (720, 1280)):
        picture = rand.integers(0, 256, (*shape, 3)).astype(np.uint8)
        for still in (True, False):
            for face in faces_of(stage, frame(picture, still=still)):
                assert np.isfinite([*face.box, face.score, *sum(face.landmarks, ())]).all()


def test_a_file_that_is_no_yunet(registry: Registry) -> None:
    with pytest.raises(ValueError, match="not a YuNet detector"):
        YuNet(registry.resolve(Config().models.embedder).path, threads=1)


# Alignment


def turned(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ matrix.T + shift


def test_similarity_finds_the_transform(rand: np.random.Generator) -> None:
    for _ in range(200):
        angle, scale, shift = rand.uniform(-3.1, 3.1), rand.uniform(0.05, 20), rand.uniform(-500, 500, 2)
        source = rand.normal(0, 30, (5, 2))
        found = align.similarity(source, turned(source, angle, scale, shift))
        wanted = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert np.allclose(found, np.hstack([wanted, np.reshape(shift, (2, 1))]), atol=1e-6 * max(1, scale))


def test_similarity_is_the_least_squares_one(rand: np.random.Generator) -> None:
    source, target = rand.normal(0, 30, (5, 2)), rand.normal(0, 30, (5, 2))
    best = align.similarity(source, target)

    def error(matrix: np.ndarray) -> float:
        return float(((source @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum())

    for _ in range(300):
        a, b, x, y = rand.normal(0, 0.05, 4)
        assert error(best + np.array([[a, -b, 20 * x], [b, a, 20 * y]])) >= error(best)


def test_landmarks_in_one_point() -> None:
    with pytest.raises(ValueError, match="one point"):
        align.crop(np.zeros((50, 50, 3), np.uint8), ((7.0, 7.0),) * 5)


@pytest.fixture(scope="module")
def recognizer(registry: Registry) -> Any:
    return cv2.FaceRecognizerSF.create(str(registry.resolve(Config().models.embedder).path), "")


def test_same_chips_as_opencv(portraits: dict[str, np.ndarray], yunet: YuNet, recognizer: Any) -> None:
    plain = shrunk = 0
    for name, image in portraits.items():
        for face in yunet.detect(image):
            row = np.array([*face.box, *sum(face.landmarks, ()), face.score], np.float32)
            ours, theirs = align.crop(image, face.landmarks), recognizer.alignCrop(image, row)
            assert (ours.shape, ours.dtype) == ((112, 112, 3), np.uint8)
            a, b = (recognizer.feature(chip).ravel().copy() for chip in (ours, theirs))
            cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            if face.box[2] < 200:
                plain += 1
                assert np.abs(ours.astype(int) - theirs).mean() < 1, name
                assert cosine > 0.99, name
            else:
                # Much larger than a chip: OpenCV skips pixels, we average them.
                shrunk += 1
                assert cosine > 0.95, name
    assert plain >= 7
    assert shrunk >= 5


def test_averaging_makes_sizes_alike(
    portraits: dict[str, np.ndarray], yunet: YuNet, recognizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason for averaging: a face gives the same embedding in a large photo as in a small copy of it."""

    def alike() -> float:
        cosines = []
        for name in ("impostor_1", "impostor_2", "person_a_2", "person_b_1", "person_b_2"):
            image = portraits[name]
            landmarks = yunet.detect(image)[0].landmarks
            small = cv2.resize(image, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
            moved = tuple(((x + 0.5) * 0.35 - 0.5, (y + 0.5) * 0.35 - 0.5) for x, y in landmarks)
            a, b = (
                recognizer.feature(align.crop(*pair)).ravel().copy() for pair in ((image, landmarks), (small, moved))
            )
            cosines.append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
        return min(cosines)

    with_averaging = alike()
    monkeypatch.setattr(align, "_SHRINK_BEFORE", 1e9)
    assert with_averaging > 0.985
    assert with_averaging > alike()


def test_faces_at_the_edge_and_outside(rand: np.random.Generator) -> None:
    image = rand.integers(0, 256, (120, 90, 3)).astype(np.uint8)
    for _ in range(200):
        points = turned(align.TEMPLATE, rand.uniform(-3, 3), rand.uniform(0.1, 9), tuple(rand.uniform(-400, 400, 2)))
        chip = align.crop(image, tuple(map(tuple, points.tolist())))
        assert chip.shape == (112, 112, 3)


def test_the_stage_keeps_faces_and_chips_together(
    portraits: dict[str, np.ndarray], yunet: YuNet, frame: Any, surroundings: Any, data_home: Path
) -> None:
    image = portraits["t1"]
    faces = tuple(TrackedFace(face=face, track=n, quality=0.5) for n, face in enumerate(yunet.detect(image), 1))
    stage = Align(Config(), data_home)
    stage.open(surroundings.context)
    origin = frame(image).origin
    messages = [Tracked(origin=origin, image=Image(image), faces=some) for some in (faces, (), faces[:1])]
    chips = [message for message in stage.process(messages) if isinstance(message, Chips)]
    assert [message.chips.shape for message in chips] == [(6, 112, 112, 3), (0, 112, 112, 3), (1, 112, 112, 3)]
    assert (chips[0].chips[0] == chips[2].chips[0]).all()


# Quality


def test_quality_falls_with_blur_size_and_turning(portraits: dict[str, np.ndarray], yunet: YuNet) -> None:
    for name in ("person_a_2", "person_b_1", "impostor_1"):
        image = portraits[name]
        (face,) = yunet.detect(image)
        blurred = [image, *(cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (2, 5, 12))]
        grades = [quality(picture, face) for picture in blurred]
        assert grades == sorted(grades, reverse=True), name
        assert grades[0] > 0.7
        assert grades[-1] < 0.75 * grades[0]
        small = cv2.resize(image, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)
        (little,) = yunet.detect(small)
        assert quality(small, little) < 0.8 * grades[0]
    group = portraits["t1"]
    by_turn = {round(face.box[0]): pose(face.landmarks) for face in yunet.detect(group)}
    assert min(by_turn, key=by_turn.get) == 906, "the woman who looks aside"


def test_sharpness_does_not_depend_on_light(portraits: dict[str, np.ndarray], yunet: YuNet) -> None:
    image = portraits["person_b_2"]
    (face,) = yunet.detect(image)
    dim = (image * 0.5 + 20).astype(np.uint8)
    assert sharpness(dim, face.box) == pytest.approx(sharpness(image, face.box), abs=0.05)


def test_quality_of_nonsense_is_a_number(rand: np.random.Generator) -> None:
    image = rand.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for _ in range(300):
        box = tuple(float(value) for value in rand.uniform(-60, 90, 4))
        points = tuple((float(x), float(y)) for x, y in rand.uniform(-60, 90, (5, 2)))
        grade = quality(image, Face(box=box, landmarks=points, score=float(rand.uniform(0, 1))))
        assert 0 <= grade <= 1
    assert quality(np.zeros_like(image), Face(box=(0, 0, 40, 40), landmarks=((5.0, 5.0),) * 5, score=1.0)) == 0


def test_exposure_and_what_a_face_lacks_most(portraits: dict[str, np.ndarray], yunet: YuNet) -> None:
    image = portraits["person_a_1"]
    (face,) = look(yunet, Image(image), 640)
    good = grade(image, face)
    assert good.exposure == 1.0
    assert good.quality == pytest.approx(face.score * (good.size * good.sharpness * good.pose) ** (1 / 3))
    night, noon = (image // 12).astype(np.uint8), (255 - (255 - image) // 20).astype(np.uint8)
    assert grade(night, face).reason == grade(noon, face).reason == "dark"
    assert grade(night, face).quality < 0.6 * good.quality
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), min(face.box[2:]) / 16), np.uint8)
    assert grade(blurred, face).reason == "blurred"
    x, y, _, _ = face.box
    assert grade(image, msgspec.structs.replace(face, box=(x, y, 18.0, 22.0))).reason == "small"
    assert grade(image, msgspec.structs.replace(face, score=0.02)).reason == "unsure"
    right, left, nose, *mouth = face.landmarks
    aside = (left[0], nose[1])
    assert grade(image, msgspec.structs.replace(face, landmarks=(right, left, aside, *mouth))).reason == "turned"
