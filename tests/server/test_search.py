"""Searching by photo."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from vultus.server.services import Services


def test_a_person_is_found_by_another_photograph(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/api/v1/search?k=3", files={"photo": photo}).json()
    (face,) = answer["faces"]
    best, second = face["matches"][:2]
    assert best["name"] == "Emmanuel Macron"
    assert best["match"]
    assert best["similarity"] >= answer["threshold"] > second["similarity"]


def test_what_is_no_picture_is_refused_in_words(client: httpx.Client) -> None:
    answer = client.post("/api/v1/search", files={"photo": b"certainly no picture"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:vultus:refused-picture")


def test_filters_and_faces_that_speak(client: httpx.Client, photo: bytes, services: Services) -> None:
    macron = services.gallery.identity("Emmanuel Macron").id

    def names(asked: str) -> list[str | None]:
        (face,) = client.post(f"/api/v1/search?{asked}", files={"photo": photo}).json()["faces"]
        return [match["name"] for match in face["matches"]]

    assert names(f"person={macron}&faces=3") == ["Emmanuel Macron"]
    assert names("labelled=false&k=3") == [None] * 3
    assert names("collection=none") == []
    assert names("min_similarity=0.4") == ["Emmanuel Macron"]
    assert names("min_quality=1") == []
    assert names("before=2001-01-01T00:00:00Z") == []
    assert len(names("by=faces&k=10")) == 10
    missing = client.post("/api/v1/search?person=9999", files={"photo": photo})
    assert missing.json()["type"] == "urn:vultus:unknown-person"


@pytest.mark.parametrize("by", ["people", "faces"])
def test_a_stored_face_is_no_answer_to_itself(client: httpx.Client, services: Services, by: str) -> None:
    macron = services.gallery.faces("Emmanuel Macron")[0].id
    answer = client.get(f"/api/v1/faces/{macron}/matches?by={by}&k=20").json()
    faces = [match["face_id"] for match in answer["matches"]]
    assert macron not in faces
    assert len(faces) == 9
    assert not any(match["match"] for match in answer["matches"])
    assert client.get("/api/v1/faces/9999/matches").json()["type"] == "urn:vultus:unknown-face"


def test_many_who_ask_at_once_each_have_their_own_answer(client: httpx.Client, services: Services) -> None:
    macron = services.gallery.faces("Emmanuel Macron")[0].id
    asked = [
        f"/api/v1/faces/{face}/matches?k={k}" for k in (1, 3) for face in (macron, 9999, macron + 1, macron + 2)
    ] * 3
    expected = {path: client.get(path).json() for path in asked}
    searches = len(services.gallery.audit.entries())
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(lambda path: client.get(path).json(), asked)) == [expected[path] for path in asked]
    noted = services.gallery.audit.entries()[searches:]
    assert len(noted) == sum("matches" in expected[path] for path in asked)
    assert {(one.actor, one.via) for one in noted} == {("local", "127.0.0.1")}
