"""Cameras of the server, for real: an RTSP server that asks for passwords, dies and comes back, and pages that look."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from media import Walk, frames, portrait, write_video
from rtsp import RtspServer, need_gstreamer
from served import configured, serving
from websockets.sync.client import ClientConnection, connect

from vultus.server.cameras.changes import CameraChange, WorkerChange
from vultus.server.cameras.live import HEADER
from vultus.server.services import Services

pytestmark = pytest.mark.slow
QUICK = {
    "serve.cameras": {"networks": {"allowed": ["127.0.0.0/8"]}},
    "decode": {"retry_first": 0.2, "retry_max": 1.0, "open_timeout": 3.0, "stall_timeout": 2.0},
}


@pytest.fixture(scope="module")
def clip(samples: tuple[Path, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_gstreamer()
    walks = [Walk(portrait(samples[0] / "person_a_2.jpg", 240), (10, 40), (380, 60))]
    return write_video(tmp_path_factory.mktemp("watching") / "clip.mp4", frames(walks, 100))


@pytest.fixture(scope="module")
def rtsp(clip: Path) -> Iterator[RtspServer]:
    with RtspServer({"one": clip, "two": clip}, user="viewer", password="hunter2") as server:
        yield server


class Scene:
    """A server with cameras, its client, and what it told."""

    def __init__(self, services: Services, address: str, client: httpx.Client) -> None:
        self.services, self.address, self.client = services, address, client
        self.changes: list[CameraChange | WorkerChange] = []
        services.watching.listeners.append(self.changes.append)

    def until(self, what: Callable[[], Any], seconds: float = 30.0) -> Any:
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, (self.changes, self.client.get("/api/v1/cameras").json())
            time.sleep(0.05)
        return found

    def add(self, name: str, address: str) -> str:
        answer = self.client.post("/api/v1/cameras", json={"name": name, "address": address})
        assert answer.status_code == 201, answer.text
        return f"/api/v1/cameras/{answer.json()['id']}"

    def health(self, place: str) -> dict[str, Any]:
        health: dict[str, Any] = self.client.get(place).json()["health"]
        return health

    def state(self, place: str, *states: str) -> Callable[[], bool]:
        return lambda: self.health(place)["state"] in states


@pytest.fixture(scope="module")
def scene(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    config = configured(tmp_path_factory.mktemp("watched"), gallery, QUICK)
    with (
        Services(config) as services,
        serving(services) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield Scene(services, address, client)
    assert not _children(), "stage processes outlive the server"


def _children() -> list[str]:
    """Stage processes, which are children of whichever thread started them."""
    mine = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread has ended just now
            mine += (task / "children").read_text().split()
    return [pid for pid in mine if b"vultus.pipeline" in _command(pid)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_camera_is_added_watched_changed_and_removed(scene: Scene, rtsp: RtspServer) -> None:
    assert scene.services.health() is None
    tried = scene.client.post("/api/v1/cameras/test", json={"address": rtsp.url("one")}).json()
    assert (tried["works"], tried["codec"], tried["width"], tried["height"]) == (True, "h264", 640, 360)
    assert 20 < tried["fps"] < 30
    place = scene.add("hall", rtsp.url("one"))
    number = int(place.rpartition("/")[2])
    scene.until(scene.state(place, "connected"))
    before = scene.services.gallery.sightings()
    seen = scene.until(lambda: [one for one in scene.services.gallery.sightings() if one not in before])
    assert (seen[0].source, seen[0].identity is not None) == ("hall", True)
    assert scene.health(place)["size"] == [640, 360]
    assert scene.services.camera_events.size("hall") == (640, 360)
    scene.until(lambda: scene.health(place)["fps_in"] > 15 and scene.health(place)["last_face"])
    assert scene.client.get("/readyz").status_code == 200

    picture = scene.client.get(f"{place}/snapshot")
    assert picture.headers["content-type"] == "image/jpeg"
    pixels = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (360, 640, 3)
    assert pixels[:, 320:].mean() > 30

    right = [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]
    assert scene.client.patch(place, json={"zones": [right]}).status_code == 200
    scene.until(lambda: scene.state(place, "connected")() and _right_half(scene, place) < 5)
    assert rtsp.url("one") not in scene.client.get("/api/v1/cameras").text

    assert scene.client.patch(place, json={"enabled": False}).json()["health"]["state"] == "off"
    scene.until(lambda: not _children())
    assert scene.services.health() is None
    assert scene.client.patch(place, json={"enabled": True}).status_code == 200
    scene.until(scene.state(place, "connected"))
    assert scene.client.delete(place).status_code == 204
    scene.until(lambda: not _children())
    states = [change.state for change in scene.changes if isinstance(change, CameraChange) and change.camera == number]
    assert states[0] == "connected"
    assert {"off", "removed"} < set(states)
    assert [change.state for change in scene.changes if isinstance(change, WorkerChange)].count("running") == 2


def _right_half(scene: Scene, place: str) -> float:
    answer = scene.client.get(f"{place}/snapshot")
    if answer.status_code != 200:
        return 255.0
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return float(pixels[:, 330:].mean())


def test_wrong_passwords_and_cameras_that_die_are_told_and_tried_again(scene: Scene, rtsp: RtspServer) -> None:
    tried = scene.client.post("/api/v1/cameras/test", json={"address": rtsp.url("one", "wrong")}).json()
    assert (tried["works"], tried["picture"]) == (False, None)
    assert "password is wrong" in tried["reason"]
    assert tried["remedy"]
    wrong = scene.add("wrong", rtsp.url("one", "wrong"))
    right = scene.add("right", rtsp.url("two"))
    scene.until(lambda: "password is wrong" in scene.health(wrong)["last_error"])
    scene.until(scene.state(right, "connected"))
    assert scene.client.get(f"{wrong}/snapshot").status_code == 503
    rtsp.kill()
    scene.until(scene.state(right, "lost"))
    rtsp.start()
    scene.until(scene.state(right, "connected"))
    assert scene.health(right)["restarts"] >= 1
    assert scene.client.patch(wrong, json={"address": rtsp.url("one")}).status_code == 200
    scene.until(scene.state(wrong, "connected"))
    told = json.dumps([str(change) for change in scene.changes]) + scene.client.get("/api/v1/cameras").text
    assert "hunter2" not in told
    for place in (wrong, right):
        scene.client.delete(place)


class Page:
    """What a page gets over its socket, read in a thread."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.pictures, self.texts = socket, [], []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for message in self.socket:
            if isinstance(message, bytes):
                self.pictures.append((HEADER.unpack_from(message), message[HEADER.size :]))
            else:
                self.texts.append(json.loads(message))

    def close(self) -> None:
        self.socket.close()
        self._thread.join(10)


def test_pages_look(scene: Scene, rtsp: RtspServer) -> None:
    places = [scene.add(name, rtsp.url(name)) for name in ("one", "two")]
    numbers = [int(place.rpartition("/")[2]) for place in places]
    for place in places:
        scene.until(scene.state(place, "connected"))
    url = scene.address.replace("http", "ws") + "/api/v1/live"
    with connect(url, origin=scene.address) as first, connect(url) as second:
        pages = [Page(first), Page(second)]
        first.send(json.dumps({"cameras": numbers, "large": numbers[0]}))
        second.send(json.dumps({"cameras": numbers[1:]}))
        scene.until(lambda: {head[5] for head, _ in pages[0].pictures} == set(numbers) and len(pages[1].pictures) > 5)
        assert {head[5] for head, _ in pages[1].pictures} == {numbers[1]}
        (version, flags, width, height, _, _, number, when), jpeg = pages[0].pictures[-1]
        assert (version, flags, width, height) == (1, 0, 640, 360)
        assert jpeg.startswith(b"\xff\xd8")
        assert number > 0
        assert abs(time.time() - when) < 5
        mine = {head[6] for head, _ in pages[1].pictures}
        scene.until(lambda: mine & {head[6] for head, _ in pages[0].pictures}, 10)  # the same JPEG for both
        known = scene.until(
            lambda: [
                mark
                for text in pages[0].texts
                if text["type"] == "marks" and text["camera"] == numbers[0]
                for mark in text["marks"]
                if mark["state"] == "known"
            ]
        )
        assert known[0]["name"]
        assert [text["state"] for text in pages[1].texts if text["type"] == "state"] == ["connected"]
        second.send(json.dumps({"cameras": []}))
        rtsp.kill()
        scene.until(lambda: any(text.get("state") == "lost" for text in pages[0].texts))
        rtsp.start()
        for page in pages:
            page.close()
    scene.until(lambda: len(scene.services.live) == 0)
    with scene.client.stream("GET", f"{places[0]}/live.mjpeg") as answer:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=next"
        assert b"\xff\xd8" in next(answer.iter_bytes())
    for place in places:
        scene.client.delete(place)


def test_what_dies_is_started_again(scene: Scene, rtsp: RtspServer) -> None:
    place = scene.add("hall", rtsp.url("one"))
    scene.until(scene.state(place, "connected"))
    del scene.changes[:]
    os.kill(int(_children()[0]), 9)
    scene.until(lambda: [change for change in scene.changes if change.state == "died"])
    scene.until(lambda: [change for change in scene.changes if change.state == "restarted"])
    scene.until(scene.state(place, "connected"))
    scene.client.delete(place)


def test_a_server_that_stops_ends_streams_and_processes(gallery: Path, rtsp: RtspServer, tmp_path: Path) -> None:
    with Services(configured(tmp_path, gallery, QUICK)) as services:
        with serving(services) as address, httpx.Client(base_url=address, timeout=30) as client:
            stopping = Scene(services, address, client)
            place = stopping.add("hall", rtsp.url("one"))
            stopping.until(stopping.state(place, "connected"))
            with connect(address.replace("http", "ws") + "/api/v1/live") as socket:
                socket.send(json.dumps({"cameras": [1]}))
                assert socket.recv(10)
                page = Page(socket)
                begun = time.monotonic()
        assert time.monotonic() - begun < 5, "streams held the server up"
        page.close()
    assert time.monotonic() - begun < 8
    assert not _children()
