"""Decoding of detectors' heads and non-maximum suppression, against numpy in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.native import FACE, decode_ultralight, decode_yunet, suppress

HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
PRIORS = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}


def yunet_heads(rand: np.random.Generator, height: int, width: int) -> dict[str, np.ndarray]:
    """Scores also a little outside 0..1, many of them equal."""
    heads = {}
    for head, columns in HEADS.items():
        for stride in (8, 16, 32):
            shape = (1, (height // stride) * (width // stride), columns)
            raw = rand.integers(-1, 12, shape) / 10 if columns == 1 else rand.standard_normal(shape)
            heads[f"{head}_{stride}"] = raw.astype(np.float32)
    return heads


def yunet_reference(heads: dict[str, np.ndarray], width: int, threshold: float) -> list[tuple[float, list[float]]]:
    """(score, box and landmarks) of each place at or above the threshold, in order of place."""
    found = []
    for stride in (8, 16, 32):
        cls, obj, boxes, points = (heads[f"{head}_{stride}"][0].astype(np.float64) for head in HEADS)
        for i in range(len(cls)):
            row, column = divmod(i, width // stride)
            score = np.sqrt(np.clip(cls[i, 0], 0, 1) * np.clip(obj[i, 0], 0, 1))
            if np.float32(score) >= np.float32(threshold):
                centre = (np.array([column, row]) + boxes[i, :2]) * stride
                extent = np.exp(boxes[i, 2:]) * stride
                landmarks = (points[i].reshape(5, 2) + np.array([column, row])) * stride
                found.append((score, [*(centre - extent / 2), *extent, *landmarks.ravel()]))
    return found


@pytest.mark.parametrize("size", [(32, 32), (64, 160), (320, 96)])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9, 1.0])
def test_yunet(size: tuple[int, int], threshold: float, rand: np.random.Generator) -> None:
    heads = yunet_heads(rand, *size)
    got = np.sort(decode_yunet(heads, size, threshold), order="place")
    want = yunet_reference(heads, size[1], threshold)
    assert len(got) == len(want)
    for face, (score, numbers) in zip(got, want, strict=True):
        assert face["score"] == pytest.approx(score, abs=1e-6)
        np.testing.assert_allclose([*face["box"], *face["landmarks"].ravel()], numbers, rtol=1e-5, atol=1e-3)


def test_the_best_are_kept_where_there_is_no_room(rand: np.random.Generator) -> None:
    heads = yunet_heads(rand, 320, 320)
    everything = decode_yunet(heads, (320, 320), 0.1)
    order = np.lexsort((everything["place"], -everything["score"]))
    for most in (0, 1, 2, 17, len(everything) - 1, len(everything), 5000):
        some = decode_yunet(heads, (320, 320), 0.1, most)
        assert sorted(some["place"]) == sorted(everything["place"][order[:most]])


def test_what_is_not_finite_is_left_out(rand: np.random.Generator) -> None:
    heads = {name: np.zeros_like(head) for name, head in yunet_heads(rand, 64, 64).items()}
    for head in ("cls_8", "obj_8"):
        heads[head][:] = 1
    heads["cls_8"][0, 0] = np.nan
    heads["cls_8"][0, 1] = np.inf  # clipped to 1
    heads["obj_8"][0, 2] = -np.inf
    heads["bbox_8"][0, 3, 2] = 100  # the exponential overflows
    heads["bbox_8"][0, 4, 0] = np.nan
    heads["kps_8"][0, 5, 9] = -np.inf
    assert set(range(64)) - set(decode_yunet(heads, (64, 64), 0.5)["place"]) == {0, 2, 3, 4, 5}


def priors(height: int, width: int) -> np.ndarray:
    """`(n, 4)`: centre and sides in pixels; the cells share the picture, and no side exceeds it."""
    rows = []
    for stride, sides in PRIORS.items():
        down, across = -(-height // stride), -(-width // stride)
        for row in range(down):
            for column in range(across):
                centre = ((column + 0.5) * width / across, (row + 0.5) * height / down)
                rows += [(*centre, min(side, width), min(side, height)) for side in sides]
    return np.array(rows, np.float64)


@pytest.mark.parametrize("size", [(240, 320), (96, 128), (1, 1), (37, 201), (480, 640)])
def test_ultralight(size: tuple[int, int], rand: np.random.Generator) -> None:
    places = priors(*size)
    scores = rand.uniform(0, 1, (len(places), 2)).astype(np.float32)
    locations = rand.standard_normal((len(places), 4)).astype(np.float32)
    got = np.sort(decode_ultralight(scores, locations, size, 0.5, len(places)), order="place")
    np.testing.assert_array_equal(got["place"], np.flatnonzero(scores[:, 1] >= np.float32(0.5)))
    np.testing.assert_array_equal(got["score"], scores[got["place"], 1])
    at, where = places[got["place"]], locations[got["place"]].astype(np.float64)
    extent = np.exp(where[:, 2:] * 0.2) * at[:, 2:]
    corner = at[:, :2] + where[:, :2] * 0.1 * at[:, 2:] - extent / 2
    np.testing.assert_allclose(got["box"], np.hstack([corner, extent]), rtol=1e-5, atol=2e-4)
    assert not got["landmarks"].any()


def suppress_reference(faces: np.ndarray, most: float) -> list[int]:
    """Places that stay, in order."""
    finite = [face for face in faces if np.isfinite([*face["box"], face["score"], *face["landmarks"].ravel()]).all()]
    left = sorted(finite, key=lambda face: (-face["score"], face["place"]))
    kept = []
    while left:
        best, *left = left
        kept.append(int(best["place"]))
        left = [face for face in left if not shares(best["box"], face["box"], most)]
    return kept


def shares(a: np.ndarray, b: np.ndarray, most: float) -> bool:
    a, b = a.astype(np.float64), b.astype(np.float64)
    inner = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.clip(inner, 0, None).prod()
    return bool(shared > np.float64(np.float32(most)) * (a[2:].prod() + b[2:].prod() - shared))


def some_faces(rand: np.random.Generator, n: int) -> np.ndarray:
    """On a coarse grid, so that boxes, overlaps and scores are often equal, and some boxes have no area."""
    faces = np.zeros(n, FACE)
    faces["box"][:, :2] = rand.integers(0, 12, (n, 2)) * 5
    faces["box"][:, 2:] = rand.integers(0, 5, (n, 2)) * 10
    faces["score"] = rand.integers(0, 8, n) / 8
    faces["landmarks"] = rand.standard_normal((n, 5, 2))
    faces["place"] = rand.permutation(n)
    return faces


@pytest.mark.parametrize("most", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 40, 300])
def test_suppression(n: int, most: float, rand: np.random.Generator) -> None:
    faces = some_faces(rand, n)
    spoilt = rand.random(n) < 0.05
    faces["box"][spoilt, rand.integers(0, 4)] = np.nan
    faces["score"][np.roll(spoilt, 1)] = np.inf
    kept = suppress(faces, most)
    assert kept["place"].tolist() == suppress_reference(faces, most)
    by_place = faces[np.argsort(faces["place"])]
    assert kept.tobytes() == by_place[kept["place"]].tobytes()


@pytest.mark.slow
def test_suppression_of_many(rand: np.random.Generator) -> None:
    faces = np.zeros(5000, FACE)
    faces["box"] = np.hstack([rand.uniform(0, 2000, (5000, 2)), rand.uniform(10, 60, (5000, 2))])
    faces["score"] = rand.random(5000)
    faces["place"] = np.arange(5000)
    assert suppress(faces, 0.3)["place"].tolist() == suppress_reference_fast(faces, 0.3)
    faces["box"] = faces["box"][0]
    assert suppress(faces, 0.3)["place"].tolist() == [int(faces["score"].argmax())]


def suppress_reference_fast(faces: np.ndarray, most: float) -> list[int]:
    boxes = faces["box"].astype(np.float64)
    order = np.argsort(-faces["score"], kind="stable")
    low, high, area = boxes[:, :2], boxes[:, :2] + boxes[:, 2:], boxes[:, 2:].prod(axis=1)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        shared = np.clip(np.minimum(high[best], high[order]) - np.maximum(low[best], low[order]), 0, None).prod(axis=1)
        order = order[shared <= np.float64(np.float32(most)) * (area[best] + area[order] - shared)]
    return kept


def test_arguments(rand: np.random.Generator) -> None:
    heads = yunet_heads(rand, 32, 32)
    for wrong, size, error, words in (
        ({**heads, "kps_32": heads["kps_16"]}, (32, 32), ValueError, r"kps_32 is \(1, 4, 10\)"),
        ({**heads, "cls_8": heads["cls_8"].astype(np.float64)}, (32, 32), TypeError, "no numpy array of float32"),
        ({"cls_8": heads["cls_8"]}, (32, 32), ValueError, "there is no head cls_16"),
        (heads, (33, 32), ValueError, "multiples of 32"),
        (heads, (32, 0), ValueError, "outside 1..8192"),
    ):
        with pytest.raises(error, match=words):
            decode_yunet(wrong, size, 0.5)
    with pytest.raises(ValueError, match=r"a score of 1.5 is outside 0..1"):
        decode_yunet(heads, (32, 32), 1.5)
    with pytest.raises(ValueError, match="must be C-contiguous and hold"):
        decode_ultralight(np.zeros((3, 2), np.float32), np.zeros((3, 4), np.float32), (8, 8), 0.5)
    with pytest.raises(TypeError, match="one-dimensional"):
        suppress(np.zeros((3, 4), np.float32), 0.5)
    with pytest.raises(ValueError, match="an overlap of nan"):
        suppress(np.zeros(3, FACE), float("nan"))
