"""MTCNN against the cascade as its authors' program writes it: level by level, with whole-pixel boxes counted from one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from vultus.configs.schema import Config, Detect, Models
from vultus.pipeline.frames import Image
from vultus.stages.detector import open_detector
from vultus.stages.mtcnn import Mtcnn, pyramid
from vultus.stages.onet import crops_of, squares_of
from vultus.stages.view import View
from vultus.weights import Registry


@pytest.fixture(scope="module")
def files(mtcnn_registry: Registry) -> list[Path]:
    return [mtcnn_registry.resolve(name).path for name in ("mtcnn", "mtcnn_rnet", "mtcnn_onet")]


@pytest.fixture(scope="module")
def detector(files: list[Path], data_home: Path) -> Mtcnn:
    found = open_detector(Config(models=Models(detector="mtcnn")), data_home)
    assert isinstance(found, Mtcnn)
    return found


class Reference:
    """The cascade by ONNX Runtime and NumPy: `detect` gives rows of left, top, right, bottom, score, and five points."""

    def __init__(self, files: list[Path]) -> None:
        self.pnet, self.rnet, self.onet = (
            onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in files
        )

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        boxes = np.empty((0, 9))
        scale = 12 / 20
        while min(height, width) * scale >= 12:
            size = (int(np.ceil(width * scale)), int(np.ceil(height * scale)))
            scores, edges = self.pnet.run(["scores", "boxes"], {"data": planes(cv2.resize(image, size, None, 0, 0, 3))})
            y, x = np.nonzero(scores[0, 0] >= 0.6)
            low, high = ((2 * np.stack([x, y]) + add) // scale for add in (1, 12))
            level = np.vstack([low, high, scores[0, 0, y, x], edges[0][:, y, x]]).T
            boxes = np.concatenate([boxes, level[kept(level, 0.5)]])
            scale *= 0.709
        boxes = boxes[kept(boxes, 0.7)]
        boxes = square(moved(boxes, boxes[:, 5:]))
        scores, edges = self.rnet.run(["scores", "boxes"], {"data": crops(image, boxes, 24)})
        good = scores[:, 0] > 0.7
        boxes = np.column_stack([boxes[good, :4], scores[good], edges[good]])
        boxes = boxes[kept(boxes, 0.7)]
        boxes = square(moved(boxes, boxes[:, 5:]))
        scores, edges, shares = self.onet.run(["scores", "boxes", "points"], {"data": crops(image, boxes, 48)})
        good = scores[:, 0] > 0.7
        boxes, shares = np.column_stack([boxes[good, :4], scores[good], edges[good]]), shares[good]
        side = boxes[:, 2:4] - boxes[:, :2] + 1
        points = np.stack(
            [boxes[:, i : i + 1] - 1 + side[:, i : i + 1] * shares[:, 5 * i : 5 * i + 5] for i in (0, 1)], 2
        )
        boxes = moved(boxes, boxes[:, 5:])
        best = kept(boxes, 0.7, of_smaller=True)
        return boxes[best], points[best]


def planes(*images: np.ndarray) -> np.ndarray:
    return np.stack([(image[..., ::-1].transpose(2, 0, 1).astype(np.float32) - 127.5) / 128 for image in images])


def moved(boxes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    side = boxes[:, 2:4] - boxes[:, :2] + 1
    return np.column_stack([boxes[:, :4] + edges * np.tile(side, 2), boxes[:, 4]])


def square(boxes: np.ndarray) -> np.ndarray:
    side = boxes[:, 2:4] - boxes[:, :2]
    most = side.max(axis=1, keepdims=True)
    low = boxes[:, :2] + side / 2 - most / 2
    return np.column_stack([np.fix(low), np.fix(low + most), boxes[:, 4]])


def crops(image: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    pad = 400
    framed = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    found = []
    for x0, y0, x1, y1 in boxes[:, :4].astype(int) + pad:
        found.append(cv2.resize(framed[y0 - 1 : y1, x0 - 1 : x1], (side, side), interpolation=cv2.INTER_AREA))
    return planes(*found)


def kept(boxes: np.ndarray, most: float, of_smaller: bool = False) -> list[int]:
    order = np.argsort(-boxes[:, 4], kind="stable")
    area = (boxes[:, 2:4] - boxes[:, :2] + 1).prod(axis=1)
    found = []
    while len(order):
        first, rest = order[0], order[1:]
        found.append(int(first))
        sides = np.minimum(boxes[first, 2:4], boxes[rest, 2:4]) - np.maximum(boxes[first, :2], boxes[rest, :2]) + 1
        shared = np.maximum(sides, 0).prod(axis=1)
        whole = np.minimum(area[first], area[rest]) if of_smaller else area[first] + area[rest] - shared
        order = rest[shared <= most * whole]
    return found


@pytest.mark.parametrize("name", ["t1", "person_b_2"])
def test_the_same_faces_as_the_authors_program(
    name: str, detector: Mtcnn, files: list[Path], portraits: dict[str, np.ndarray]
) -> None:
    whole = portraits[name]
    scale = 640 / max(whole.shape[:2])
    image = np.asarray(cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    ours = detector.find(View(Image(image), 640))
    boxes, points = Reference(files).detect(image)
    assert len(ours) == len(boxes) == (6 if name == "t1" else 1)
    for box, five in zip(boxes, points, strict=True):
        face = min(ours, key=lambda one: np.abs(np.subtract(one.landmarks, five)).sum())
        eyes = np.linalg.norm(five[0] - five[1])
        assert np.abs(np.subtract(face.landmarks, five)).max() < max(1.5, 0.06 * eyes)  # pixels; theirs are whole
        corners = np.array([face.box[0], face.box[1], face.box[0] + face.box[2], face.box[1] + face.box[3]])
        assert np.abs(corners - box[:4]).max() < 0.2 * eyes
        assert face.score == pytest.approx(box[4], abs=0.03)


def test_found_in_source_pixels_whatever_it_is_shown_at(detector: Mtcnn, portraits: dict[str, np.ndarray]) -> None:
    image = Image(portraits["t1"])
    whole = detector.find(View(image, 640))
    for view in (View(image, 900), View(image, 1, border=0.2, size=(896, 900))):
        found = detector.find(view)
        assert len(found) == len(whole) == 6
        for face in whole:
            eyes = np.linalg.norm(np.subtract(*np.array(face.landmarks)[:2]))
            apart = min(np.abs(np.subtract(face.landmarks, other.landmarks)).mean() for other in found)
            assert apart < 0.15 * eyes


def test_smaller_faces_than_asked_for_are_not_looked_for(
    mtcnn_registry: Registry, data_home: Path, portraits: dict[str, np.ndarray]
) -> None:
    config = Config(models=Models(detector="mtcnn"), detect=Detect(min_face=400))
    assert open_detector(config, data_home).find(View(Image(portraits["t1"]), 1280)) == []


def test_pictures_of_any_shape(detector: Mtcnn, rand: np.random.Generator) -> None:
    for shape in ((1, 1), (1, 900), (900, 1), (20, 20), (31, 33), (25, 1200)):
        picture = rand.integers(0, 256, (*shape, 3)).astype(np.uint8)
        for face in detector.find(View(Image(picture), 1280)):
            assert np.isfinite([*face.box, face.score, *sum(face.landmarks, ())]).all()


def test_levels_lie_beside_each_other(rand: np.random.Generator) -> None:
    for _ in range(100):
        width, height = (int(side) for side in 2 ** rand.uniform(3, 13, 2))
        levels = pyramid(width, height, float(rand.uniform(20, 100)))
        taken = [(one.left, one.top, one.left + one.width, one.top + one.height) for one in levels]
        assert all(one.left % 2 == one.top % 2 == 0 and min(one.width, one.height) >= 12 for one in levels)
        for i, (x0, y0, x1, y1) in enumerate(taken):
            assert not any(x0 < r and left < x1 and y0 < b and top < y1 for left, top, r, b in taken[:i])
        if levels:
            assert max(row[2] for row in taken) * max(row[3] for row in taken) <= 5_000_000
    assert pyramid(10, 10, 20) == []
    assert [one.width for one in pyramid(400, 300, 20)][:3] == [240, 171, 121]


def test_crops_are_black_beyond_the_picture_and_bounded() -> None:
    image = Image(np.full((40, 60, 3), 200, np.uint8))
    squares = np.array([(10, 5, 24), (-12, -12, 24), (50, 0, 40), (100, 100, 30), (-1e8, -1e8, 3e8), (5, 5, 0.2)])
    inside, corner, right, outside, huge, none = crops_of(image, squares, 24)
    assert (inside == 200).all()
    assert (corner[12:, 12:] == 200).all()
    assert not corner[:12].any()
    assert not corner[:, :12].any()
    assert (right[:, :6] == 200).all()
    assert not right[:, 6:].any()
    assert not outside.any()
    assert not none.any()
    assert (huge == 200).any(axis=2).sum() == 1
    np.testing.assert_allclose(squares_of(np.array([(10.0, 20, 30, 50)])), [(0, 20, 50)])
    assert squares_of(np.empty((0, 4))).shape == (0, 3)
