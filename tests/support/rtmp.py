"""Support for tests with RTMP: FFmpeg's own program as the server, since neither PyAV nor GStreamer can serve it."""

import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType

import pytest
from ports import free_port


class RtmpServer:
    """Sends `film` (H.264, again and again) to one client at a time until closed; a context manager."""

    def __init__(self, film: Path) -> None:
        package = pytest.importorskip("imageio_ffmpeg", reason="needs FFmpeg's program: pip install imageio-ffmpeg")
        self._program = package.get_ffmpeg_exe()
        self.url = f"rtmp://127.0.0.1:{free_port()}/live/door"
        self._film = film
        self._lock = threading.Lock()
        self._closed = True
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Listen, on the same port every time."""
        self._closed = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def freeze(self) -> None:
        """Its sockets stay open and nothing comes out of them any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it as a power cut would."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        self._thread.join(10)

    def _serve(self) -> None:
        source = ["-re", "-stream_loop", "-1", "-i", str(self._film)]
        target = ["-c", "copy", "-f", "flv", "-listen", "1", self.url]
        command = [self._program, "-nostdin", "-loglevel", "quiet", *source, *target]
        while True:  # FFmpeg ends with its client
            with self._lock:
                if self._closed:
                    return
                self._process = subprocess.Popen(command)
            self._process.wait()

    def __enter__(self) -> "RtmpServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
