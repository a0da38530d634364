"""Streams whose address nobody trusts: FFmpeg is held to the address that was judged."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import frames, write_video
from rtsp import RtspServer, need_gstreamer

from vultus.configs.schema import Decode
from vultus.configs.serving import Networks
from vultus.stages import knocking, video
from vultus.stages.grabber import Grabber, SourceLost
from vultus.stages.reach import Forbidden, check_connections, connections

HERE = Networks(allowed=("127.0.0.1/32",))
"""What the tests' servers have; 127.0.0.2 is the forbidden place beside it."""
LIMITS = Decode(open_timeout=3.0, stall_timeout=2.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_gstreamer()
    return write_video(tmp_path_factory.mktemp("confined") / "clip.mp4", frames([], 50, (320, 180)))


@contextmanager
def answering(answer: bytes, host: str = "127.0.0.1") -> Iterator[tuple[int, list[bytes]]]:
    """A server that says the same to everybody who asks: its port, and what it was asked."""
    asked: list[bytes] = []
    listener = socket.create_server((host, 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(2)
                try:
                    asked.append(client.recv(4096))
                    sequence = next((line for line in asked[-1].split(b"\r\n") if line.startswith(b"CSeq")), b"CSeq: 1")
                    client.sendall(answer.replace(b"@CSEQ@", sequence))
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def first(address: str, networks: Networks | None) -> None:
    """Wait for one frame. Raises SourceLost."""
    ear = Grabber("first", lambda _ear: iter(()), threading.Condition())
    frames = video.listen(address, LIMITS, None, ear, networks=networks)
    try:
        next(frames)
    finally:
        frames.close()


@pytest.mark.parametrize("status", [301, 302, 307])
def test_redirects_of_http_are_not_followed(status: int) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", "127.0.0.2") as (secret, asked):
        away = f"HTTP/1.1 {status} Away\r\nLocation: http://127.0.0.2:{secret}/admin\r\nContent-Length: 0\r\n\r\n"
        with answering(away.encode()) as (port, _):
            with pytest.raises(SourceLost):
                first(f"http://127.0.0.1:{port}/video", HERE)
            assert not asked
            with pytest.raises(SourceLost):
                first(f"http://127.0.0.1:{port}/video", None)
            assert asked, "the test shows nothing: FFmpeg does not follow in any case"


def test_playlists_by_another_name_are_not_read() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", "127.0.0.2") as (secret, asked):
        listed = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.2:{secret}/a.ts\n#EXT-X-ENDLIST\n"
        answer = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: {len(listed)}\r\n\r\n"
        )
        with answering((answer + listed).encode()) as (port, _):
            with pytest.raises(SourceLost):
                first(f"http://127.0.0.1:{port}/video", HERE)
            assert not asked


def test_a_forbidden_address_is_not_asked_at_all() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", "127.0.0.2") as (port, asked):
        with pytest.raises(SourceLost, match="this machine itself") as lost:
            first(f"http://127.0.0.2:{port}/video", HERE)
        assert lost.value.slow, "a name is asked for again, but not often"
        assert not knocking.answers(f"http://127.0.0.2:{port}/video", 1.0, HERE)
        assert not asked
        assert knocking.answers(f"http://127.0.0.2:{port}/video", 5.0)


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """A camera that answers with one JPEG after another, and remembers whom it was asked for."""

    asked_for: str | None = None

    def do_GET(self) -> None:
        type(self).asked_for = self.headers["Host"]
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), 99, np.uint8))[1].tobytes()
        head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        try:
            while True:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.02)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Not here."""


def test_a_camera_is_asked_for_by_its_name() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        first(f"http://localhost:{server.server_port}/video", HERE)
        assert Mjpeg.asked_for == f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_where_rtsp_redirects_to_is_not_shown(clip: Path) -> None:
    with RtspServer({"one": clip}) as inside:
        away = f"RTSP/1.0 302 Moved\r\n@CSEQ@\r\nLocation: rtsp://127.0.0.1:{inside.port}/one\r\n\r\n"
        with answering(away.encode(), "127.0.0.2") as (port, _):
            first(f"rtsp://127.0.0.2:{port}/video", None)
            first(f"rtsp://127.0.0.2:{port}/video", Networks(allowed=("127.0.0.0/8",)))
            with pytest.raises(SourceLost, match=r"sent us on to 127\.0\.0\.1") as lost:
                first(f"rtsp://127.0.0.2:{port}/video", Networks(allowed=("127.0.0.2/32",)))
            assert lost.value.slow


def test_the_other_ends_of_connections_are_known() -> None:
    with answering(b"") as (port, _):
        before = connections()
        with socket.create_connection(("127.0.0.1", port)):
            new = connections().items() - before.items()
            assert "127.0.0.1" in {address for _, address in new}
            check_connections(before.keys(), HERE)
            with pytest.raises(Forbidden, match=r"127\.0\.0\.1, this machine itself"):
                check_connections(before.keys(), Networks())
            check_connections(connections().keys(), Networks())
