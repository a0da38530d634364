"""Live sources that are no RTSP over TCP, cameras that join and leave, and files played at their own speed."""

import http.server
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from media import frames, write_video
from ports import free_port
from rtmp import RtmpServer
from rtsp import RtspServer, need_gstreamer
from watcher import QUICK, Watcher, item

from vultus.configs.schema import View
from vultus.pipeline.messages import Frame, ItemEnd, Leave
from vultus.stages import camera


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half."""
    return write_video(tmp_path_factory.mktemp("kinds") / "film.mp4", frames([], 38, (320, 180)))


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """A camera that answers with one JPEG after another."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        try:
            for number in range(1000):
                jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), number % 256, np.uint8))[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.02)
        except OSError:
            return  # whoever watched has left

    def log_message(self, *_: object) -> None:
        pass


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_motion_jpeg_over_http(surroundings: object) -> None:
    with serving(Mjpeg) as address, Watcher(surroundings, QUICK, item(f"{address}/video")) as watcher:
        watcher.wait_for(lambda: len(watcher.frames()) >= 5, 20)
    assert watcher.states("connected")[0].reason == "160×120"


def test_hls(surroundings: object, tmp_path: Path) -> None:
    camera.video.write(tmp_path / "part.ts", frames([], 50, (160, 90)), 25)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\npart.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "live.m3u8").write_text(playlist)
    with (
        serving(partial(Files, directory=str(tmp_path))) as address,
        Watcher(surroundings, QUICK, item(f"{address}/live.m3u8")) as watcher,
    ):
        watcher.wait_for(lambda: watcher.frames() and watcher.states("lost"), 20)
    assert watcher.states("connected")[0].reason == "160×90"
    assert "ended the stream" in watcher.states("lost")[0].reason


@pytest.mark.slow
def test_h265_over_http_awake_and_idle(surroundings: object, tmp_path: Path, rand: np.random.Generator) -> None:
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        options = {"x265-params": "log-level=none:pools=1:keyint=10:bframes=0", "preset": "ultrafast"}
        stream = film.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        picture = cv2.GaussianBlur(rand.integers(0, 256, (96, 160, 3), np.uint8), (0, 0), 8)
        for _ in range(50):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        film.mux(stream.encode(None))

    class Sender(Mjpeg):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            begun = time.monotonic()
            try:
                for due, piece in camera.video.broadcast(tmp_path / "film.mp4"):
                    time.sleep(max(0.0, begun + due - time.monotonic()))
                    self.wfile.write(piece)
            except OSError:
                return

    limits = msgspec.structs.replace(QUICK.decode, motion=True, idle_after=0.5, still_every=0.3)
    config = msgspec.structs.replace(QUICK, decode=limits)
    with serving(Sender) as address, Watcher(surroundings, config, item(f"{address}/a.ts")) as watcher:
        watcher.wait_for(lambda: surroundings.counts["idle"] > 10, 20)
        seen = len(watcher.frames())
        watcher.wait_for(lambda: len(watcher.frames()) >= seen + 2, 20)
    (connected,) = watcher.states("connected")
    assert (connected.reason, connected.decoder) == ("160×96", "hevc in software")
    assert not watcher.states("lost")
    assert surroundings.counts.get("broken", 0) == 0
    shown = watcher.frames()[-1].image.array.astype(float)
    assert abs(shown - cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)).mean() < 40


def test_rtsp_over_udp_for_one_camera(film: Path, surroundings: object) -> None:
    need_gstreamer()
    with RtspServer({"a": film, "b": film}) as server:
        udp = msgspec.structs.replace(item(server.url("a")), view=View(transport="udp"))
        with Watcher(surroundings, QUICK, udp, item(server.url("b"), 1)) as watcher:
            watcher.wait_for(lambda: len(watcher.frames()) >= 5 and len(watcher.frames(1)) >= 5, 20)
            udp_sockets = Path("/proc/self/net/udp").read_text().count("0100007F:") + Path(
                "/proc/self/net/udp"
            ).read_text().count("00000000:")
    assert udp_sockets >= 2, "RTP and RTCP of the one camera"


@pytest.mark.slow
def test_a_file_at_its_own_speed_ends(film: Path, surroundings: object, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    begin = time.monotonic()
    turns: dict[str, list[bool]] = defaultdict(list)
    arrived: Counter[int] = Counter()
    surroundings.context = msgspec.structs.replace(
        surroundings.context,
        at_work=lambda works: turns[threading.current_thread().name].append(works),
        arrived=lambda item, count: arrived.update({item: count}),
    )
    with Watcher(surroundings, QUICK, item(str(film), 0, "paced"), item(str(broken), 1, "paced")) as watcher:
        watcher.wait_for(lambda: sum(isinstance(message, ItemEnd) for message in watcher.messages) == 2, 20)
        took = time.monotonic() - begin
        # Nothing is left to watch, so the stage is free again without being stopped.
        watcher.wait_for(lambda: not watcher.running, 5)
    assert took > 37 / 25
    ends = {message.origin.item: message for message in watcher.messages if isinstance(message, ItemEnd)}
    assert ends[0].refused is None
    assert len(watcher.frames()) == ends[0].frames > 5
    assert watcher.frames()[0].origin.live
    assert "no video" in (ends[1].refused or "")
    assert arrived == {0: 38}, "each frame once"
    reading, watching = turns.pop("camera 0"), turns.pop(watcher.name)
    assert reading == [True, False] * (len(reading) // 2), "a thread that has ended does not work"
    assert watching == [False, True] * (len(watching) // 2), "the stage works on after a wait"
    assert min(len(reading), len(watching)) > 2 * 20, "to wait for a frame's time is no work"


@pytest.mark.slow
def test_cameras_join_and_leave_while_others_go_on(film: Path, surroundings: object) -> None:
    need_gstreamer()
    arrivals: deque[list[object]] = deque()
    context = msgspec.structs.replace(surroundings.context, arrivals=lambda: arrivals.popleft() if arrivals else [])
    with RtspServer({"a": film, "b": film}) as server:
        seen: dict[int, int] = {0: 0, 1: 0}
        step = 0
        for message in camera.watch([item(server.url("a"))], QUICK, context):
            if isinstance(message, Frame):
                seen[message.origin.item] += 1
            if step == 0 and seen[0] >= 5:
                arrivals.append([item(server.url("b"), 1)])
                step = 1
            elif step == 1 and seen[1] >= 5:
                arrivals.append([Leave(item=0)])
                step = 2
            elif step == 2 and isinstance(message, ItemEnd):
                assert message.origin.item == 0
                seen[1] = 0
                step = 3
            elif step == 3 and seen[1] >= 5:
                arrivals.append([Leave(item=1), Leave(item=7)])
                step = 4
    assert step == 4, "and it is over when the last one left"
    assert [state.item for state in surroundings.states if state.state == "ended"] == [0, 1]


@pytest.mark.slow
def test_rtmp_whose_server_dies_and_comes_back(film: Path, surroundings: object) -> None:
    with RtmpServer(film) as server, Watcher(surroundings, QUICK, item(server.url)) as watcher:
        watcher.wait_for(lambda: len(watcher.frames()) >= 5, 30)
        (connected,) = watcher.states("connected")
        assert (connected.reason, connected.decoder) == ("320×180", "h264 in software")
        lost = len(watcher.states("lost"))  # it may have called before the server listened
        server.kill()
        watcher.wait_for(lambda: len(watcher.states("lost")) > lost, 10)
        seen = len(watcher.frames())
        server.start()
        watcher.wait_for(lambda: len(watcher.frames()) >= seen + 5, 30)
        server.freeze()
        lost = len(watcher.states("lost"))
        watcher.wait_for(lambda: len(watcher.states("lost")) > lost, 10)
    assert len(watcher.states("connected")) == 2
    assert watcher.states("lost")[lost].reason == "sent nothing usable for 2 s"


def test_nothing_listens_at_a_port_of_rtmp(surroundings: object) -> None:
    with Watcher(surroundings, QUICK, item(f"rtmp://127.0.0.1:{free_port()}/live/x")) as watcher:
        watcher.wait_for(lambda: watcher.states("lost"), 20)
    assert watcher.states("lost")[0].reason
