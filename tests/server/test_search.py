"""Searching by photo."""

import httpx


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
