"""Cameras that are none: films sent over HTTP as fast as a camera would, from a process of their own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from vultus.stages import video


class Cameras:
    """A server on this machine with a camera for each film; a context manager."""

    def __init__(self, films: Sequence[Path], reconnect: float | None = None) -> None:
        """`reconnect`: hang up on whoever has been served for so many seconds."""
        self._films, self._reconnect = [str(film) for film in films], reconnect
        self._begun: list[list[float]] = [[] for _ in films]
        self._port = 0
        self._process: BaseProcess | None = None

    def __enter__(self) -> Self:
        # Spawned, since the job's own process has threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._films, self._reconnect, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not ours.poll(30):
            raise TimeoutError("the server of the films did not start within 30 s")
        self._port = ours.recv()
        threading.Thread(target=self._listen, args=(ours,), name="cameras", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def address(self, camera: int) -> str:
        """Where a camera is."""
        return f"http://127.0.0.1:{self._port}/{camera}.ts"

    def position(self, camera: int, when: float) -> float:
        """Seconds since the film began for whoever was connected at `when`, seconds since the epoch; below 0 if nobody."""
        begun = [start for start in self._begun[camera] if start <= when]
        return when - begun[-1] if begun else -1.0

    def _listen(self, ours: Connection) -> None:
        try:
            while True:
                camera, start = ours.recv()
                self._begun[camera].append(start)
        except (EOFError, OSError):
            return


def _serve(films: Sequence[str], reconnect: float | None, notes: Connection) -> None:
    """Runs in the server's process."""
    lock = threading.Lock()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.strip("/").removesuffix(".ts"))
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            start = time.time()
            with lock:
                notes.send((number, start))
            try:
                for due, piece in video.broadcast(films[number]):
                    time.sleep(max(0.0, start + due - time.time()))
                    self.wfile.write(piece)
                    if reconnect is not None and due > reconnect:
                        return
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    notes.send(server.server_address[1])
    server.serve_forever()
