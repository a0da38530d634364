"""Unknown people over the API."""

import httpx
import pytest

from vultus.server.services import Services

UNKNOWNS = "/api/v1/unknowns"


@pytest.fixture
def unknown(services: Services) -> int:
    """One of the six on the group photograph."""
    return services.gallery.unknowns.people()[0].id


def test_they_are_listed_page_by_page(client: httpx.Client, services: Services) -> None:
    everybody = {one.id for one in services.gallery.unknowns.people()}
    first = client.get(f"{UNKNOWNS}?limit=4&order=newest").json()
    second = client.get(UNKNOWNS, params={"limit": 4, "order": "newest", "cursor": first["next"]}).json()
    assert {one["identity"] for page in (first, second) for one in page["items"]} == everybody
    assert client.get(f"{UNKNOWNS}?least=2").json() == {"items": [], "next": None}


def test_one_is_told_with_the_best_face(client: httpx.Client, services: Services, unknown: int) -> None:
    one = client.get(f"{UNKNOWNS}/{unknown}").json()
    assert (one["faces"], one["sightings"], one["hidden"]) == (1, 0, False)
    assert one["sources"][0].endswith("t1.jpg")
    assert services.gallery.face(one["best_face"]).identity == unknown
    named = services.gallery.identity("Emmanuel Macron").id
    assert client.get(f"{UNKNOWNS}/{named}").json()["type"] == "urn:vultus:unknown-person"


def test_one_is_named_and_that_is_undone(client: httpx.Client, unknown: int) -> None:
    named = client.post(f"{UNKNOWNS}/{unknown}/name", json={"name": "Eve"}).json()
    assert (named["identity"], named["name"]) == (unknown, "Eve")
    assert client.get(f"{UNKNOWNS}/{unknown}").status_code == 404
    client.post("/api/v1/acts/undo", json={"count": 1})
    assert client.get(f"{UNKNOWNS}/{unknown}").status_code == 200


def test_a_name_that_is_taken_gets_the_faces(client: httpx.Client, services: Services, unknown: int) -> None:
    macron = services.gallery.identity("Emmanuel Macron").id
    named = client.post(f"{UNKNOWNS}/{unknown}/name", json={"name": "Emmanuel Macron"}).json()
    assert (named["identity"], named["faces"]) == (macron, 2)
    client.post("/api/v1/acts/undo", json={})


def test_two_are_one(client: httpx.Client, services: Services) -> None:
    one, other, *_ = [person.id for person in services.gallery.unknowns.people()]
    assert client.post(f"{UNKNOWNS}/{one}/merge", json={"others": [other, other]}).json()["faces"] == 2
    assert client.post(f"{UNKNOWNS}/{one}/merge", json={"others": [other]}).status_code == 404
    client.post("/api/v1/acts/undo", json={})


def test_one_is_ignored_and_shown_again(client: httpx.Client, services: Services, unknown: int) -> None:
    before = len(services.gallery.unknowns.people())
    for hidden in (True, False):
        assert client.patch(f"{UNKNOWNS}/{unknown}", json={"hidden": hidden}).json()["hidden"] is hidden
        assert len(services.gallery.unknowns.people()) == before - hidden


def test_faces_of_nobody_are_gathered(client: httpx.Client, services: Services) -> None:
    face = services.gallery.faces(services.gallery.unknowns.people()[0].id)[0].id
    services.gallery.move_faces([face], None)
    done = client.post(f"{UNKNOWNS}/gather", json={"again": True}).json()
    assert (done["faces"], done["founded"], done["pending"]) == (1, 1, 0)


def test_one_is_erased(client: httpx.Client, services: Services) -> None:
    last = services.gallery.unknowns.people()[-1].id
    assert client.delete(f"{UNKNOWNS}/{last}").status_code == 204
    assert client.get(f"{UNKNOWNS}/{last}").status_code == 404
