"""Cameras over the API, as far as no camera is connected to."""

import httpx
import pytest

from vultus.server.services import Services

ADDRESS = "rtsp://viewer:hunter2@192.0.2.7:8554/stream?channel=1&pwd=hunter3"
SHOWN = "rtsp://192.0.2.7:8554/stream?channel=1&pwd=***"
ZONE = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]


def added(client: httpx.Client, name: str, **more: object) -> dict[str, object]:
    answer = client.post("/api/v1/cameras", json={"name": name, "address": ADDRESS, "enabled": False, **more})
    assert answer.status_code == 201, answer.text
    camera: dict[str, object] = answer.json()
    return camera


def test_a_camera_is_added_shown_changed_and_removed(client: httpx.Client, services: Services) -> None:
    camera = added(client, "  hall ", zones=[ZONE], transport="udp")
    assert (camera["name"], camera["address"], camera["origin"]) == ("hall", SHOWN, "server")
    assert camera["health"]["state"] == "off"
    place = f"/api/v1/cameras/{camera['id']}"
    assert client.get(place).json() == camera
    changed = client.patch(place, json={"name": "entry", "masks": [ZONE], "transport": None, "address": SHOWN}).json()
    assert changed == camera | {"name": "entry", "masks": [ZONE], "transport": None}
    assert services.cameras.get(int(str(camera["id"]))).address == ADDRESS, "as it was shown means as it is"
    assert client.patch(place, json={"address": "rtsp://u:p@192.0.2.8/a"}).json()["address"] == "rtsp://192.0.2.8/a"
    assert client.delete(place).status_code == 204
    for answer in (
        client.get(place),
        client.delete(place),
        client.patch(place, json={}),
        client.get(f"{place}/snapshot"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:vultus:unknown-camera")
    with pytest.raises(KeyError):
        services.vault.reveal(f"camera/{camera['id']}/address")


def test_no_password_leaves(client: httpx.Client, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    camera = added(client, "secretive")
    told = [client.get("/api/v1/cameras").text, client.get(f"/api/v1/cameras/{camera['id']}").text]
    wrong = {"name": "x", "address": "rtsp://u:hunter2@127.0.0.1/", "transport": "hunter2"}
    told += [client.post("/api/v1/cameras", json=wrong | more).text for more in ({}, {"transport": None})]
    told.append(repr(services.cameras.all()))
    assert all("hunter" not in text for text in (*told, caplog.text)), told
    client.delete(f"/api/v1/cameras/{camera['id']}")


def test_names_are_taken_once(client: httpx.Client) -> None:
    one, two = added(client, "one"), added(client, "two")
    again = client.post("/api/v1/cameras", json={"name": "one", "address": ADDRESS})
    assert (again.status_code, again.json()["type"]) == (409, "urn:vultus:name-taken")
    assert client.patch(f"/api/v1/cameras/{two['id']}", json={"name": "one"}).status_code == 409
    assert client.patch(f"/api/v1/cameras/{one['id']}", json={"name": "one"}).status_code == 200
    first = client.get("/api/v1/cameras?limit=1").json()
    rest = client.get("/api/v1/cameras", params={"cursor": first["next"]}).json()
    assert [camera["name"] for camera in first["items"] + rest["items"]] == ["one", "two"]
    assert rest["next"] is None
    for camera in (one, two):
        client.delete(f"/api/v1/cameras/{camera['id']}")


@pytest.mark.parametrize(
    "into",
    [
        "rtsp://127.0.0.1/a",
        "rtsp://[::1]/a",
        "http://169.254.169.254/latest",
        "webcam:0",
        "/etc/passwd",
        "file:///x",
        "x",
    ],
)
@pytest.mark.parametrize("way", ["add", "change", "test"])
def test_addresses_that_lead_into_the_host_are_refused(client: httpx.Client, into: str, way: str) -> None:
    if way == "add":
        answer = client.post("/api/v1/cameras", json={"name": "inside", "address": into})
    elif way == "test":
        answer = client.post("/api/v1/cameras/test", json={"address": into})
    else:
        camera = added(client, "outside")
        answer = client.patch(f"/api/v1/cameras/{camera['id']}", json={"address": into})
        assert client.get(f"/api/v1/cameras/{camera['id']}").json()["address"] == SHOWN
        client.delete(f"/api/v1/cameras/{camera['id']}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:vultus:address-refused")
    assert client.get("/api/v1/cameras").json()["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"zones": [[[0, 0], [1, 1]]]},
        {"zones": [[[0, 0], [1, 1], [2, 0]]]},
        {"masks": [ZONE] * 33},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "   "},
        {"transport": "sctp"},
        {"address": ""},
        {"more": 1},
    ],
)
def test_what_is_not_as_described_is_refused(client: httpx.Client, wrong: dict[str, object]) -> None:
    right = {"name": "fine", "address": ADDRESS, "enabled": False}
    assert client.post("/api/v1/cameras", json=right | wrong).status_code == 422
    assert client.post("/api/v1/cameras/test", json={"address": ADDRESS, "camera": 1}).status_code == 422
    assert client.get("/api/v1/cameras?cursor=x").status_code == 422


def test_a_camera_that_is_off_gives_no_picture(client: httpx.Client, services: Services) -> None:
    camera = added(client, "off")
    answer = client.get(f"/api/v1/cameras/{camera['id']}/snapshot")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:vultus:camera-off")
    assert services.health() is None, "no camera is on, and stage processes run"
    client.delete(f"/api/v1/cameras/{camera['id']}")
