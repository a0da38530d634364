"""Support for tests with cameras: a real RTSP server that can be killed, frozen and started again."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import pytest
from ports import free_port

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-plugins-ugly gstreamer1.0-libav python3-gi"
)


def need_gstreamer() -> None:
    """Skip the test if GStreamer's RTSP server is not installed; on a build server (CI=true) fail instead."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    found = (
        os.access(SYSTEM_PYTHON, os.X_OK)
        and subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, timeout=60).returncode == 0
    )
    if not found:
        reason = f"needs GStreamer's RTSP server: apt-get install {PACKAGES}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


class RtspServer:
    """Serves `mounts` (name → MP4 file with H.264 and no B-frames) until closed; a context manager."""

    def __init__(self, mounts: Mapping[str, Path], user: str | None = None, password: str | None = None) -> None:
        self.port = free_port()
        self._user, self._password = user, password
        self._arguments = [f"{name}={path}" for name, path in mounts.items()]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, mount: str, password: str | None = None) -> str:
        """Address of a mount, with the right user and password or another `password`."""
        given = self._password if password is None else password
        login = "" if self._user is None else f"{quote(self._user)}:{quote(given or '', safe='')}@"
        return f"rtsp://{login}127.0.0.1:{self.port}/{mount}"

    def start(self, timeout: float = 30.0) -> None:
        """Start it, on the same port every time, and wait until it listens."""
        command = [SYSTEM_PYTHON, str(SCRIPT), str(self.port), *self._arguments]
        if self._user is not None:
            command += ["--user", f"{self._user}:{self._password}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        said = self._process.stdout.readline() if ready else b""
        assert said == b"READY\n", f"the RTSP server did not start: {said!r}, exit code {self._process.poll()}"

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Its sockets stay open and nothing comes out of them any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> "RtspServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
