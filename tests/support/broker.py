"""Debian's mosquitto on a free port of the loopback, with a password; it can be killed and started again."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ports import free_port

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
USER, PASSWORD = "vultus", "a secret of the broker"


class Broker:
    """The broker; what it keeps lies in a folder, so that it is there again after a restart."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto", path=PATH)
        if program is None:
            pytest.skip("needs mosquitto (Debian: mosquitto)")
        self.port = free_port()
        passwords, settings = folder / "passwords", folder / "mosquitto.conf"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", passwords, USER, PASSWORD], check=True, capture_output=True)
        settings.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"user {'root' if os.getuid() == 0 else 'mosquitto'}\nlog_dest stderr\nlog_type error\n"
        )
        self._command = [program, "-c", str(settings)]
        self._said = folder / "said"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(self._command, stderr=said)
        ends = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, f"mosquitto does not start: {self._said.read_text()}"
                assert time.monotonic() < ends, "mosquitto does not answer"
                time.sleep(0.01)

    def kill(self) -> None:
        """Kill it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
