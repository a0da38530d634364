"""Detection, quality and comparison of uploaded photos."""

import base64
import io

import httpx
import pytest
from PIL import Image

NOBODY = io.BytesIO()
Image.new("RGB", (160, 120), (90, 120, 60)).save(NOBODY, "PNG")


def test_faces_are_found_with_boxes_landmarks_and_quality(client: httpx.Client, photo: bytes) -> None:
    seen = client.post("/api/v1/detect", files={"photo": photo}).json()
    (face,) = seen["faces"]
    left, top, width, height = face["box"]
    assert 0 <= left < left + width <= seen["width"]
    assert 0 <= top < top + height <= seen["height"]
    assert all(left < x < left + width and top < y < top + height for x, y in face["landmarks"])
    assert face["score"] > 0.8
    assert 0.4 < face["quality"] <= 1
    assert face["chip"] is None


def test_the_aligned_face_comes_along_if_asked_for(client: httpx.Client, photo: bytes) -> None:
    (face,) = client.post("/api/v1/detect?chips=true", files={"photo": photo}).json()["faces"]
    chip = Image.open(io.BytesIO(base64.b64decode(face["chip"])))
    assert (chip.format, chip.size) == ("JPEG", (112, 112))


@pytest.mark.parametrize("path", ["detect", "quality", "search"])
def test_a_picture_without_faces_has_none(client: httpx.Client, path: str) -> None:
    assert client.post(f"/api/v1/{path}", files={"photo": NOBODY.getvalue()}).json()["faces"] == []


def test_quality_says_what_a_face_lacks(client: httpx.Client, photo: bytes) -> None:
    picture = Image.open(io.BytesIO(photo))
    small = io.BytesIO()
    picture.resize((picture.width // 8, picture.height // 8)).save(small, "JPEG")
    graded = [client.post("/api/v1/quality", files={"photo": data}).json() for data in (photo, small.getvalue())]
    good, bad = (answer["faces"][0] for answer in graded)
    assert graded[0]["source"] == "stand-in"
    assert good["enrolable"]
    assert good["lacks"] is None
    assert bad["lacks"] == "small"
    assert bad["quality"] < good["quality"]


def test_two_photos_of_one_person_match(client: httpx.Client, photo: bytes, group: bytes) -> None:
    same = client.post("/api/v1/compare", files={"first": photo, "second": photo}).json()
    assert same["pairs"] == [{"first": 0, "second": 0, "similarity": 1.0, "match": True}]
    answer = client.post("/api/v1/compare", files={"first": photo, "second": group}).json()
    assert not any(pair["match"] for pair in answer["pairs"])
    assert len(answer["pairs"]) == len(answer["second"]["faces"]) > 0
    similarities = [pair["similarity"] for pair in answer["pairs"]]
    assert similarities == sorted(similarities, reverse=True)
    assert len(client.post("/api/v1/compare?limit=1", files={"first": photo, "second": group}).json()["pairs"]) == 1
