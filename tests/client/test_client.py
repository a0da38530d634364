"""The client against the real server, and against the description of its API."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from served import configured, serving

from vultus.client import Client, Refused, Unreachable, shapes
from vultus.index.types import Sighting
from vultus.server.app import create_app
from vultus.server.services import Services

_TEMPLATE = re.compile(r"\{[a-z_]+\}")


@pytest.fixture(scope="module")
def services(indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with Services(configured(tmp_path_factory.mktemp("served"), indexed)) as services:
        yield services


@pytest.fixture(scope="module")
def described(services: Services) -> dict[str, Any]:
    """The description of the API."""
    return create_app(services).openapi()


@pytest.fixture(scope="module")
def client(services: Services, described: dict[str, Any]) -> Iterator[Client]:
    """A client whose every request has to be one that the description has, with parameters that it knows."""
    operations = {
        (method.upper(), re.compile(_TEMPLATE.sub("[^/]+", path))): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }

    class Watched(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            found = [
                operation
                for (method, path), operation in operations.items()
                if method == request.method and path.fullmatch(request.url.path)
            ]
            assert found, f"{request.method} {request.url.path} is not described"
            known = {parameter["name"] for parameter in found[0].get("parameters", ())}
            assert set(request.url.params) <= known, request.url
            return super().handle_request(request)

    with serving(services) as address, Client(address, transport=Watched(), timeout=20) as client:
        yield client


def test_the_shapes_are_those_of_the_description(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for name, shape in vars(shapes).items():
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct) and shape is not msgspec.Struct:
            fields = {field.encode_name for field in msgspec.structs.fields(shape)}
            assert fields <= set(schemas[name]["properties"]), name


def test_photos_are_searched_and_compared(client: Client, photo: bytes) -> None:
    (face,) = client.search(photo, k=2)
    assert (face.matches[0].name, face.matches[0].match) == ("Emmanuel Macron", True)
    assert client.resembling(face.matches[0].face_id, k=1)[0].name != "Emmanuel Macron"
    assert client.detect(photo)[0].box == face.box
    assert client.compare(photo, photo) == pytest.approx(1.0, abs=1e-4)


def test_people_come_and_go(client: Client, photo: bytes) -> None:
    names = [person.name for person in client.people()]
    assert "Emmanuel Macron" in names
    assert [person.name for person in client.people("macr")] == ["Emmanuel Macron"]
    ada = client.enrol("Ada Lovelace", [photo])
    assert client.person(ada.identity).name == "Ada Lovelace"
    (face,) = client.faces(ada.identity)
    assert client.chip(face.face_id).startswith(b"\xff\xd8")
    assert client.rename(ada.identity, "Ada King").name == "Ada King"
    assert "Ada King" in client.undo()[0]
    assert client.hide(ada.identity).hidden
    assert client.export(ada.identity).startswith(b"PK")
    client.delete_person(ada.identity)
    with pytest.raises(Refused, match="404 unknown-person") as refused:
        client.person(ada.identity)
    assert (refused.value.status, refused.value.kind) == (404, "unknown-person")


def test_sightings_are_paged_and_events_followed(client: Client, services: Services) -> None:
    for track in range(60):
        services.gallery.add_sighting(Sighting(run="r", source="door", track=track, time=1000.0 + track))
    assert [sighting.track for sighting in client.sightings(source="door")] == list(reversed(range(60)))
    events = client.events(after=0, kind="sighting")
    told = [next(events) for _ in range(60)]
    events.close()  # type: ignore[attr-defined]
    assert [event.id for event in told] == sorted({event.id for event in told})
    again = client.events(after=told[-2].id, kind="sighting")
    assert next(again) == told[-1]
    again.close()  # type: ignore[attr-defined]


def test_what_is_not_wanted_and_where_nobody_is_are_told_apart(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client.search(b"no picture")
    assert refused.value.kind == "refused-picture"
    with pytest.raises(Refused) as refused:
        client.index(["/etc"])
    assert refused.value.kind == "not-an-archive"
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(Unreachable):
        nobody.person(1)
