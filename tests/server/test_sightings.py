"""Sightings over the API: lists, cursors, pictures, enrolling."""

import io

import httpx
import pytest
from PIL import Image

from vultus.index import Shot, Sighting
from vultus.server.services import Services
from vultus.stages.chip import chip_jpeg

SIGHTINGS = "/api/v1/sightings"
THEN = 1_790_000_000.0


@pytest.fixture(scope="module")
def seen(services: Services, photo: bytes) -> list[int]:
    """Macron at the door, somebody at the gate an hour later, with pictures of Macron's photograph."""
    (face,) = services.faces.find(services.faces.read(photo))
    chip = chip_jpeg(face.chip)
    macron = services.gallery.identity("Emmanuel Macron").id
    door = Sighting(run="r", source="door", track=1, time=THEN, identity=macron, similarity=0.7, quality=0.8)
    gate = Sighting(run="r", source="gate", track=2, time=THEN + 3600, quality=0.6)
    shots = [Shot(jpeg=chip, time=THEN + 3599, quality=0.1), Shot(jpeg=chip, time=THEN + 3600, quality=face.quality)]
    return [services.gallery.add_sighting(door, [shots[1]]), services.gallery.add_sighting(gate, shots)]


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [one["number"] for one in answer.json()["items"]]


def test_they_are_listed_newest_first_page_by_page(client: httpx.Client, seen: list[int]) -> None:
    assert numbers(client.get(SIGHTINGS)) == seen[::-1]
    first = client.get(f"{SIGHTINGS}?limit=1")
    assert numbers(first) == seen[1:]
    second = client.get(SIGHTINGS, params={"limit": 1, "cursor": first.json()["next"]})
    assert (numbers(second), second.json()["next"]) == (seen[:1], None)
    assert client.get(f"{SIGHTINGS}?cursor=x").json()["type"] == "urn:vultus:invalid"


@pytest.mark.parametrize(
    ("wanted", "which"),
    [
        ("source=door", [0]),
        ("unknown=true", [1]),
        ("unknown=false", [0]),
        ("min_similarity=0.6", [0]),
        ("min_similarity=0.8", []),
        ("hidden=true", []),
        ("after=2026-09-21T15:00:00Z", [1]),
        ("before=2026-09-21T17:00:00%2B02:00", [0]),
    ],
)
def test_filters(client: httpx.Client, seen: list[int], wanted: str, which: list[int]) -> None:
    assert numbers(client.get(f"{SIGHTINGS}?{wanted}")) == [seen[at] for at in which]


def test_those_of_a_person(client: httpx.Client, seen: list[int], services: Services) -> None:
    macron = services.gallery.identity("Emmanuel Macron").id
    assert numbers(client.get(f"{SIGHTINGS}?person={macron}")) == seen[:1]
    assert client.get(f"{SIGHTINGS}?person=9999").json()["type"] == "urn:vultus:unknown-person"
    assert client.get(f"/api/v1/people/{macron}").json()["last_seen"] == "2026-09-21T14:13:20Z"


def test_following_goes_on_from_a_number(client: httpx.Client, seen: list[int]) -> None:
    assert client.get(f"{SIGHTINGS}/follow").json() == {"items": [], "next": seen[1]}
    answer = client.get(f"{SIGHTINGS}/follow?since=0&limit=1")
    assert (numbers(answer), answer.json()["next"]) == (seen[:1], seen[0])
    assert numbers(client.get(f"{SIGHTINGS}/follow?since={seen[0]}")) == seen[1:]
    assert client.get(f"{SIGHTINGS}/follow?since={seen[1]}").json() == {"items": [], "next": seen[1]}


def test_hours_are_counted(client: httpx.Client, seen: list[int]) -> None:
    spans = client.get(f"{SIGHTINGS}/counts?every=3600").json()["items"]
    assert [span["count"] for span in spans] == [1, 1]
    assert client.get(f"{SIGHTINGS}/counts?every=86400").json()["items"][0]["count"] == len(seen)
    assert client.get(f"{SIGHTINGS}/counts?every=1").status_code == 422


def test_one_and_its_pictures(client: httpx.Client, seen: list[int]) -> None:
    one = client.get(f"{SIGHTINGS}/{seen[1]}").json()
    assert (one["source"], one["track"], one["time"]) == ("gate", 2, "2026-09-21T15:13:20Z")
    best, worse = client.get(f"{SIGHTINGS}/{seen[1]}/shots").json()["items"]
    assert best["shot"] == one["shot"]
    assert best["quality"] > worse["quality"]
    answer = client.get(f"{SIGHTINGS}/{seen[1]}/shots/{best['shot']}")
    assert Image.open(io.BytesIO(answer.content)).size == (112, 112)
    assert client.get(f"{SIGHTINGS}/{seen[0]}/shots/{best['shot']}").status_code == 404
    assert client.get(f"{SIGHTINGS}/9999/shots").json()["type"] == "urn:vultus:unknown-sighting"


def test_who_was_seen_is_enrolled_in_one_call(client: httpx.Client, seen: list[int], photo: bytes) -> None:
    path = f"{SIGHTINGS}/{seen[1]}/enrol"
    worse = client.get(f"{SIGHTINGS}/{seen[1]}/shots").json()["items"][1]["shot"]
    assert client.post(path, json={"name": "Eve", "shots": [worse]}).json()["type"] == "urn:vultus:low-quality"
    assert client.post(path, json={"name": "Eve", "identity": 1}).status_code == 422
    answer = client.post(path, json={"name": "Eve"})
    assert (answer.status_code, answer.json()["added"]) == (201, 1)
    person = answer.json()["person"]
    assert client.get(answer.headers["location"]).json() == person
    (face,) = client.post("/api/v1/search", files={"photo": photo}).json()["faces"]
    assert face["matches"][0]["name"] == "Eve"
    assert face["matches"][0]["similarity"] > 0.9
    assert client.post(path, json={"identity": person["identity"]}).json()["added"] == 0
    assert client.get(f"{SIGHTINGS}/{seen[1]}").json()["name"] == "Eve"


def test_who_was_not_seen_is_not_taken_for_it_again(client: httpx.Client, services: Services, photo: bytes) -> None:
    (face,) = services.faces.find(services.faces.read(photo))
    mistaken = services.gallery.enrol("Mistaken", [face.vector])
    door = Sighting(run="r", source="door", track=8, time=THEN + 8, identity=mistaken, similarity=0.9, quality=0.9)
    shot = Shot(jpeg=chip_jpeg(face.chip), time=THEN + 8, quality=face.quality)
    number = services.gallery.add_sighting(door, [shot])
    denied = client.post(f"{SIGHTINGS}/{number}/deny").json()
    assert (denied["identity"], denied["name"], denied["source"]) == (None, None, "door")
    assert client.get(f"{SIGHTINGS}/{denied['number']}/shots").json()["items"]
    (denial,) = services.gallery.denials(mistaken)
    assert services.gallery.face(denial.face or 0).identity is None
    assert client.post(f"{SIGHTINGS}/{denied['number']}/deny").json()["type"] == "urn:vultus:nobody"
    assert client.post(f"{SIGHTINGS}/{number}/deny").status_code == 404
