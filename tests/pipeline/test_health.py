"""The socket at which a job tells how it is."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vultus.pipeline.health import StatusServer, ask


def fail() -> object:
    raise OSError("no rtsp://me:secret@camera/")


class OutOfFiles:
    """A socket of a process that may open no more files for a moment."""

    def __init__(self, real: socket.socket, times: int) -> None:
        self._real, self.left = real, times

    def accept(self) -> tuple[socket.socket, Any]:
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StatusServer]:
    server = StatusServer(tmp_path, {"status": lambda: "well", "reload": fail})
    yield server
    server.close()
    assert not server.is_alive()


def test_an_answer_that_fails_is_said_and_the_next_one_comes(server: StatusServer, tmp_path: Path) -> None:
    server.start()
    assert ask(tmp_path, "reload") == b'{"error":"OSError: no rtsp://camera/"}'
    assert b"no such question" in ask(tmp_path, "what")
    assert ask(tmp_path, "status") == b'"well"'


def test_it_outlives_a_lack_of_open_files(server: StatusServer, tmp_path: Path) -> None:
    server._socket = OutOfFiles(server._socket, 2)  # type: ignore[assignment]
    server.start()
    assert ask(tmp_path, "status") == b'"well"'
    assert not server._socket.left  # type: ignore[attr-defined]
