"""Kill and restart under load: whoever follows the events by cursor, and every webhook, misses none."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from cli_process import COMMAND
from ports import free_port

from vultus.index.gallery import Gallery
from vultus.index.types import Sighting


class Served:
    """`vultus serve`, which is killed and started again."""

    def __init__(self, folder: Path, gallery: Path) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        allowed = {"networks": {"allowed": ["127.0.0.0/8"]}, "retry_first": 0.05, "retry_max": 0.5}
        serve = {"listen": f"127.0.0.1:{port}", "folder": str(folder / "server"), "webhooks": allowed}
        self._config = folder / "vultus.yaml"
        self._config.write_bytes(msgspec.yaml.encode({"gallery": str(gallery), "serve": serve}))
        self._log = (folder / "log").open("wb")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*COMMAND, "serve", "--config", str(self._config)]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        ends = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{self.address}/livez", timeout=60).raise_for_status()
                return
            except httpx.TransportError:
                assert self.process.poll() is None, self.printed
                assert time.monotonic() < ends, self.printed
                time.sleep(0.05)

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(20)

    @property
    def printed(self) -> str:
        return Path(self._log.name).read_text()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._log.close()


class Writer(threading.Thread):
    """What `vultus watch` does: sightings, some of which replace one of the same visit."""

    def __init__(self, folder: Path, rand: np.random.Generator) -> None:
        super().__init__(name="writer")
        self._folder, self._rand = folder, rand
        self.last: dict[str, int] = {}
        """Of every visit (its run) the number of the last sighting."""
        self.allowed = threading.Semaphore(0)
        """How many more it may write, so that a slow machine has no more to do than a quick one."""
        self.over = False

    def run(self) -> None:
        with Gallery.open(self._folder) as gallery:
            while self.allowed.acquire() and not self.over:
                time.sleep(0.003)
                visit = len(self.last)
                if visit and self._rand.random() < 0.3:
                    visit = int(self._rand.integers(max(0, visit - 5), visit))
                seen = Sighting(run=f"run {visit}", source=f"camera {visit}", track=1, time=time.time())
                self.last[seen.source] = gallery.add_sighting(seen)


class Follower(threading.Thread):
    """Listens to the stream, and comes back with its cursor whenever that ends."""

    def __init__(self, address: str) -> None:
        super().__init__(name="follower")
        self._address = address
        self.got: list[dict[str, Any]] = []
        self.streams = 0
        self.kinds: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        cursor = "0"
        while not self.over.is_set():
            try:
                with httpx.stream(
                    "GET", f"{self._address}/api/v1/events/stream", headers={"Last-Event-ID": cursor}, timeout=30
                ) as answer:
                    self.streams += 1
                    for line in answer.iter_lines():
                        name, _, value = line.partition(": ")
                        if name == "id":
                            coming = value
                        elif name == "event":
                            self.kinds.add(value)
                        elif name == "data":
                            self.got.append(json.loads(value))
                        elif not line:
                            cursor = coming
            except httpx.TransportError:
                self.over.wait(0.02)


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's receiver: its address, and the events that it got."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(json.loads(body)["data"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def complete(got: list[dict[str, Any]], last: dict[str, int]) -> bool:
    """Whether the last word of every visit has come."""
    return last.items() <= {one["source"]: one["sighting"]["number"] for one in list(got)}.items()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_event_is_lost_when_the_server_is_killed(
    gallery: Path,
    tmp_path: Path,
    rand: np.random.Generator,
    pytestconfig: pytest.Config,
    request: pytest.FixtureRequest,
) -> None:
    shutil.copytree(gallery, tmp_path / "gallery")
    served = Served(tmp_path, tmp_path / "gallery")
    request.addfinalizer(served.close)
    served.start()
    writer, follower = Writer(tmp_path / "gallery", rand), Follower(served.address)
    with receiver() as (url, delivered):
        asked = {"title": "t", "url": url, "kinds": ["sighting"]}
        httpx.post(f"{served.address}/api/v1/webhooks", json=asked, timeout=30).raise_for_status()
        follower.start()
        writer.start()
        try:
            for _ in range((pytestconfig.getoption("--rounds") + 1) // 3):
                writer.allowed.release(150)
                time.sleep(float(rand.uniform(0.05, 1.0)))
                served.end(signal.SIGKILL)
                time.sleep(float(rand.uniform(0.0, 0.3)))
                served.start()
            writer.over = True
            writer.allowed.release()
            writer.join()
            ends = time.monotonic() + 60
            while not (complete(follower.got, writer.last) and complete(delivered, writer.last)):
                assert time.monotonic() < ends, (len(follower.got), len(delivered), len(writer.last))
                time.sleep(0.05)
            follower.over.set()
            begun = time.monotonic()
            code = served.end(signal.SIGTERM)
            stopped = time.monotonic() - begun
        finally:
            writer.over = True
            writer.allowed.release()
            follower.over.set()
            served.end(signal.SIGKILL)
            follower.join()
    assert follower.kinds == {"sighting"}, "an event was missing"
    assert follower.streams > 3
    for got in (follower.got, list({one["id"]: one for one in delivered}.values())):  # webhooks: at least once
        ids = [one["id"] for one in got]
        assert ids == sorted(set(ids))
        numbers = [one["sighting"]["number"] for one in got]
        assert len(set(numbers)) == len(numbers), "a sighting was told twice"
        told: set[str] = set()
        for one in got:
            assert one["sighting"]["update"] is (one["visit"] in told)
            told.add(one["visit"])
        assert len(told) == len(writer.last)
    assert code == 0
    assert stopped < 8, "an open stream kept the server from stopping"
    assert "Traceback" not in served.printed
