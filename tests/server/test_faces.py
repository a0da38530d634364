"""Single faces over the API."""

import io
from collections.abc import Iterator

import httpx
import pytest
from msgspec.structs import replace
from PIL import Image

from vultus.configs.schema import Privacy
from vultus.index.veil import Veil
from vultus.server.services import Services
from vultus.stages.chip import veiled


@pytest.fixture
def macron(services: Services) -> int:
    """The face of Emmanuel Macron."""
    return services.gallery.faces("Emmanuel Macron")[0].id


@pytest.fixture
def veil(services: Services) -> Iterator[None]:
    """Emmanuel Macron's face is not to be shown."""
    before = services.veil
    services.veil = Veil(replace(Privacy(), veil=("Emmanuel Macron",)))
    yield
    services.veil = before


def test_a_face_tells_whose_it_is_and_where_it_was_seen(client: httpx.Client, macron: int) -> None:
    face = client.get(f"/api/v1/faces/{macron}").json()
    assert (face["face_id"], face["name"]) == (macron, "Emmanuel Macron")
    assert face["source"].endswith("person_a_1.jpg")
    assert face["quality"] > 0.4
    assert len(face["landmarks"]) == 5
    assert client.get("/api/v1/faces/9999").json()["type"] == "urn:vultus:unknown-face"
    assert client.get(f"/api/v1/faces/{2**63}").status_code == 422


def test_its_picture_is_sent_once(client: httpx.Client, macron: int) -> None:
    answer = client.get(f"/api/v1/faces/{macron}/chip")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"].startswith("private")
    assert Image.open(io.BytesIO(answer.content)).size == (112, 112)
    again = client.get(f"/api/v1/faces/{macron}/chip", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.usefixtures("veil")
def test_a_face_that_is_not_to_be_shown_is_squares(client: httpx.Client, macron: int, services: Services) -> None:
    kept = services.gallery.face(macron).chip
    assert kept is not None
    assert client.get(f"/api/v1/faces/{macron}/chip").content == veiled(kept) != kept


def test_stored_faces_get_a_name(client: httpx.Client, services: Services) -> None:
    one, other = services.gallery.faces(None)[-2:]
    before = [one.identity, other.identity]
    answer = client.post("/api/v1/faces/enrol", json={"faces": [one.id, other.id], "name": "Eve"})
    assert answer.status_code == 201
    person = client.get(answer.headers["location"]).json()
    assert (person["name"], person["faces"]) == ("Eve", 2)
    client.post("/api/v1/acts/undo", json={})
    assert [client.get(f"/api/v1/faces/{face.id}").json()["identity"] for face in (one, other)] == before
    assert client.post("/api/v1/faces/enrol", json={"faces": [one.id, 9999], "name": "Nobody"}).status_code == 404
    for name in ("nobody", "eve"):  # Eve went with the act that made her
        assert client.get(f"/api/v1/people?q={name}").json()["items"] == []


def test_faces_are_moved_and_deleted(client: httpx.Client, services: Services) -> None:
    unknown = services.gallery.unknowns.people()[0]
    one, *_ = services.gallery.faces(unknown.id)
    assert client.post("/api/v1/faces/move", json={"faces": [one.id], "to": None}).status_code == 204
    assert client.get(f"/api/v1/faces/{one.id}").json()["identity"] is None
    assert [face["face_id"] for face in client.get("/api/v1/faces").json()["items"]] == [one.id]
    assert client.post("/api/v1/faces/move", json={"faces": [one.id]}).status_code == 422
    assert client.post("/api/v1/faces/delete", json={"faces": [one.id, 9999]}).status_code == 404
    assert client.get(f"/api/v1/faces/{one.id}").status_code == 200
    assert client.delete(f"/api/v1/faces/{one.id}").status_code == 204
    assert client.delete(f"/api/v1/faces/{one.id}").status_code == 404
