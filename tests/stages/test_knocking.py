"""Knocking at a camera's door: what counts as somebody who is at home, and what FFmpeg may take at once."""

import ctypes
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from ports import free_port
from watcher import Watcher, item

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as Limits
from vultus.configs.serving import Networks
from vultus.stages import allocation, camera, knocking


@contextmanager
def saying(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says the same to everybody and waits: its port, and what it was asked."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            asked.append(client.recv(4096))
            client.sendall(answer)
            with suppress(ConnectionResetError):
                client.recv(1)  # until the other side has enough

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("answer", "home", "stream"),
    [
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n", True, True),
        (b"RTSP/1.0 401 Unauthorized\r\n", True, True),
        (b"RTSP/1.0 404 Not Found\r\n", True, False),
        (b"RTSP/1.0 503 Service Unavailable\r\n", True, False),
        (b"HTTP/1.1 200 OK\r\n", False, False),
        (b"\xff" * 500, False, False),
        (b"RTSP/1.0 200", False, False),  # and then nothing
    ],
)
def test_what_rtsp_servers_say(answer: bytes, *, home: bool, stream: bool) -> None:
    for asked, expected in ((False, home), (True, stream)):
        with saying(answer) as (port, heard):
            address = f"rtsp://viewer:s3cret@127.0.0.1:{port}/door"
            assert knocking.answers(address, 0.2, stream=asked) is expected
        assert heard[0].startswith(f"DESCRIBE rtsp://127.0.0.1:{port}/door RTSP/1.0\r\n".encode())
        assert b"s3cret" not in heard[0]


def test_nobody_and_those_who_must_not_be_asked() -> None:
    port = free_port()
    assert not knocking.answers(f"rtsp://127.0.0.1:{port}/x", 1.0)
    assert not knocking.answers("rtsp://[::1/x", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not knocking.answers(f"rtsp://127.0.0.1:{port}/x", 0.1), "it takes the connection and says nothing"
        assert knocking.answers(f"http://127.0.0.1:{port}/x", 1.0), "what it has to say is not asked"
        assert not knocking.answers(f"http://127.0.0.1:{port}/x", 1.0, stream=True)
        assert not knocking.answers(f"http://127.0.0.1:{port}/x", 1.0, Networks())


class Concierge(socketserver.BaseRequestHandler):
    """An RTSP server that has nothing, and wants a password before it says so."""

    def handle(self) -> None:
        with suppress(ConnectionResetError):
            while asked := self.request.recv(4096):
                number = asked.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
                status = b"404 Not Found" if b"Authorization:" in asked else b"401 Unauthorized"
                if asked.startswith(b"OPTIONS"):
                    status = b"200 OK"
                realm = b'WWW-Authenticate: Basic realm="door"\r\n'
                self.request.sendall(b"RTSP/1.0 " + status + b"\r\nCSeq: " + number + b"\r\n" + realm + b"\r\n")


@pytest.mark.slow
def test_who_calls_in_vain_is_not_listened_to(surroundings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_KNOCK_EVERY", 0.05)
    patient = Config(decode=Limits(retry_first=0.4, retry_max=8.0, motion=False))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Concierge) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"rtsp://viewer:s3cret@127.0.0.1:{server.server_address[1]}/none"
        assert knocking.answers(address, 2.0, stream=True)
        with Watcher(surroundings, patient, item(address)) as watcher:
            watcher.wait_for(lambda: len(watcher.states("lost")) >= 2, 5)
            assert "no stream at this path" in watcher.states("lost")[1].reason
            assert watcher.wait_for(lambda: len(watcher.states("lost")) >= 3, 5) > 0.7, "the second pause is 0.8 s"
        server.shutdown()


def test_ffmpeg_takes_no_more_at_once() -> None:
    assert allocation.bound(200 << 20)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        path = next(line.split()[-1] for line in maps if "/libavutil" in line)
    library = ctypes.CDLL(path)
    library.av_malloc.restype = ctypes.c_void_p
    library.av_malloc.argtypes = [ctypes.c_size_t]
    library.av_free.argtypes = [ctypes.c_void_p]
    assert library.av_malloc(201 << 20) is None
    fits = library.av_malloc(199 << 20)
    assert fits is not None
    library.av_free(fits)
