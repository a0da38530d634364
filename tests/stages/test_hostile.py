"""Streams that break in every other way: each is noticed within 10 s, and the camera is back when the stream is."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import frames
from msgspec.structs import replace
from ports import free_port
from rtsp import RtspServer, need_gstreamer
from watcher import QUICK, Watcher, item

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as Limits
from vultus.configs.serving import Networks
from vultus.stages import knocking, video


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Pieces of MPEG transport stream, two seconds each."""
    folder = tmp_path_factory.mktemp("streams")
    video.write(folder / "small.ts", frames([], 50, (160, 120)), 25)
    video.write(folder / "large.ts", frames([], 50, (320, 180)), 25)
    video.write(folder / "slow.ts", frames([], 10, (160, 120)), 5)
    with av.open(str(folder / "other.ts"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for picture in frames([], 50, (160, 120)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    _with_sound(folder / "sound.ts")
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def _with_sound(path: Path) -> None:
    """Two seconds of pictures, and of silence at 384 kbit/s."""
    with av.open(str(path), "w") as container:
        seen, heard = container.add_stream("libx264", rate=25), container.add_stream("mp2", rate=48000)
        seen.width, seen.height, seen.pix_fmt = 160, 120, "yuv420p"
        for number, picture in enumerate(frames([], 50, (160, 120))):
            container.mux(seen.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            silence = av.AudioFrame(format="s16", layout="stereo", samples=1920)
            silence.sample_rate, silence.pts, silence.time_base = 48000, number * 1920, Fraction(1, 48000)
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(heard.encode(silence))
        container.mux(seen.encode(None))
        container.mux(heard.encode(None))


CUT = "/cut.ts"
"""Path at which more is promised than is sent."""


class Script(http.server.ThreadingHTTPServer):
    """Answers its n-th client with the n-th list of pieces, later ones with the last; then silence, the socket open."""

    daemon_threads = True

    def __init__(self, answers: list[list[bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Player)
        self.answers, self.clients, self.over = answers, 0, threading.Event()


class Player(http.server.BaseHTTPRequestHandler):
    server: Script

    def do_GET(self) -> None:
        number, self.server.clients = self.server.clients, self.server.clients + 1
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        if self.path == CUT:
            self.send_header("Content-Length", str(1 << 30))
        self.end_headers()
        try:
            for piece in self.server.answers[min(number, len(self.server.answers) - 1)]:
                for start in range(0, len(piece), 1880):
                    self.wfile.write(piece[start : start + 1880])
                    if self.server.over.wait(0.01):
                        return
            if self.path != CUT:
                self.server.over.wait(60)
        except OSError:
            return  # the client left

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def playing(*answers: list[bytes]) -> Iterator[str]:
    server = Script(list(answers))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/stream.ts"
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def widths(watcher: Watcher) -> list[int]:
    return [frame.image.width for frame in watcher.frames()]


def test_another_resolution_in_mid_stream(streams: dict[str, bytes], surroundings: object) -> None:
    pieces = [streams["small"], streams["large"], streams["small"]]
    with playing(pieces) as address, Watcher(surroundings, QUICK, item(address)) as watcher:
        watcher.wait_for(lambda: 320 in widths(watcher) and widths(watcher)[-1] == 160, 20)
    assert not watcher.states("lost"), "no reason to begin again"


def test_another_rate_in_mid_stream(streams: dict[str, bytes], surroundings: object) -> None:
    pieces = [streams["small"], streams["slow"], streams["small"]]
    with playing(pieces) as address, Watcher(surroundings, QUICK, item(address)) as watcher:
        watcher.wait_for(lambda: len(watcher.frames()) + surroundings.counts["skipped"] >= 105, 20)  # of 50, 10 and 50
    assert not watcher.states("lost"), "no reason to begin again"


def test_a_connection_that_breaks_off(streams: dict[str, bytes], surroundings: object) -> None:
    with (
        playing([streams["small"]]) as address,
        Watcher(surroundings, QUICK, item(address.replace("/stream.ts", CUT))) as watcher,
    ):
        watcher.wait_for(lambda: watcher.states("lost"), 10)
    assert watcher.states("lost")[0].reason == "the connection broke off"
    assert watcher.frames()


def test_times_that_run_backwards_and_jump(streams: dict[str, bytes], surroundings: object) -> None:
    with playing([streams["large"]] * 4) as address, Watcher(surroundings, QUICK, item(address)) as watcher:
        watcher.wait_for(lambda: len(watcher.frames()) + surroundings.counts["skipped"] >= 150, 20)
        times = [frame.origin.time for frame in watcher.frames()]
    assert times == sorted(times), "they are those of arrival"
    assert not watcher.states("lost")


@pytest.mark.slow
def test_a_name_that_is_gone_and_comes_back(
    streams: dict[str, bytes], surroundings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = threading.Event()
    ask = socket.getaddrinfo

    def resolve(host: str, *rest: Any, **options: Any) -> Any:
        if host == "camera.example":
            if not known.is_set():
                raise socket.gaierror(socket.EAI_NONAME, "name or service not known")
            host = "127.0.0.1"
        return ask(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    known.set()
    with playing([streams["small"]]) as address:
        named = address.replace("127.0.0.1", "camera.example")
        camera = replace(item(named), networks=Networks(allowed=("127.0.0.0/8",)))
        with Watcher(surroundings, QUICK, camera) as watcher:
            watcher.wait_for(watcher.frames, 10)
            known.clear()  # the stream falls silent after two seconds, and the name means nothing any more
            watcher.wait_for(lambda: any("not known" in state.reason for state in watcher.states("lost")), 12)
            seen = len(watcher.frames())
            known.set()
            watcher.wait_for(lambda: len(watcher.frames()) >= seen + 10, 5)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["garbage", "half a frame", "garbage from the start", "codec"])
def test_broken_streams_are_noticed_and_healed(
    what: str, streams: dict[str, bytes], surroundings: object, rand: np.random.Generator
) -> None:
    good, noise = streams["small"], rand.bytes(400_000)
    first = {
        "garbage": [good, noise],
        "half a frame": [good[: len(good) * 2 // 3]],
        "garbage from the start": [noise],
        "codec": [good, *[streams["other"]] * 8],
    }[what]
    with playing(first, [good] * 6) as address, Watcher(surroundings, QUICK, item(address)) as watcher:
        if what == "garbage from the start":
            watcher.wait_for(lambda: watcher.states("lost"), 12)
        else:
            watcher.wait_for(lambda: watcher.frames(), 20)
            watcher.wait_for(lambda: watcher.states("lost") or len(set(widths(watcher))) > 1, 12)
        seen = len(watcher.frames())
        watcher.wait_for(lambda: len(watcher.frames()) >= seen + 10, 12)
        assert watcher.states("lost")[0].reason


@pytest.mark.slow
def test_sound_that_goes_on_without_pictures(streams: dict[str, bytes], surroundings: object) -> None:
    pictures, sound = 0x100, streams["sound"]
    packets = [sound[at : at + 188] for at in range(0, len(sound), 188)]
    without = b"".join(packet for packet in packets if int.from_bytes(packet[1:3]) & 0x1FFF != pictures)
    assert 0 < len(without) < len(sound)
    others = set(threading.enumerate())
    with (
        playing([sound, *[without] * 100], [sound] * 6) as address,
        Watcher(surroundings, QUICK, item(address)) as watcher,
    ):
        watcher.wait_for(lambda: watcher.frames(), 20)
        first = {thread for thread in threading.enumerate() if thread.name == "camera 0"} - others
        watcher.wait_for(lambda: watcher.states("lost"), 12)
        assert watcher.states("lost")[0].reason == "sent nothing usable for 2 s"
        seen = len(watcher.frames())
        watcher.wait_for(lambda: len(watcher.frames()) >= seen + 10, 5)
        assert first
        watcher.wait_for(lambda: not any(thread.is_alive() for thread in first), 5)  # its connection is closed


@pytest.mark.slow
def test_a_server_that_comes_back_after_long_is_noticed_at_once(
    streams: dict[str, bytes], surroundings: object, tmp_path: Path
) -> None:
    need_gstreamer()
    film = tmp_path / "film.mp4"
    video.write(film, frames([], 50, (320, 180)), 25)
    server = RtspServer({"one": film})
    slow = Config(decode=Limits(retry_first=600.0, retry_max=600.0, motion=False))
    with Watcher(surroundings, slow, item(server.url("one"))) as watcher:
        watcher.wait_for(lambda: watcher.states("lost"), 10)
        server.start()
        took = watcher.wait_for(lambda: watcher.frames(), 20)
        server.kill()
    assert took < 5, "though the next try was ten minutes off"
    assert knocking.answers(f"rtsp://u:p@127.0.0.1:{free_port()}/x", 1.0) is False
