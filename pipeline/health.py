"""How a running job is: each camera and each process, and the socket where `vultus status` asks for it.

The socket is a Unix socket in the job's folder, which only its user may enter. A client sends one line, `status` or
`reload`, and gets one JSON value.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from vultus.configs.address import redact_text
from vultus.pipeline.folder import run_folders
from vultus.pipeline.messages import Item, SourceState
from vultus.pipeline.metrics import SourceCounters, SpareMetrics, WorkerMetrics

_NAME = "status"
_SPAN = 5.0
"""Seconds over which rates are measured."""
_MAX_QUESTION, _MAX_ANSWER = 64, 16 << 20
_PATIENCE = 2.0
_PAUSE = 0.2
_log = logging.getLogger(__name__)


CameraState = Literal["waiting", "connecting", "connected", "lost", "ended"]
"""`waiting` until the processes behind the cameras have started."""


class CameraHealth(Struct, frozen=True, kw_only=True):
    """One camera, webcam or file that is played."""

    source: str
    state: CameraState
    since: float
    """When it came into this state; seconds since the epoch, as all times here."""
    fps_in: float = 0.0
    """Frames a second that arrive, over the last seconds."""
    fps_analysed: float = 0.0
    dropped: int = 0
    """Frames that were thrown away because others were newer or they were too old."""
    latency: float | None = None
    """Seconds from a frame's arrival to the end of its detection, of late."""
    last_face: float | None = None
    restarts: int = 0
    """Connections that were lost."""
    last_error: str = ""
    decoder: str = ""
    """Codec, and who decodes it; in words."""
    size: tuple[int, int] | None = None
    """Width and height of its picture when it connected last."""


class Health(Struct, frozen=True, kw_only=True):
    """A job."""

    pid: int
    started: float
    cameras: tuple[CameraHealth, ...]
    processes: tuple[WorkerMetrics, ...]
    spares: tuple[SpareMetrics, ...] = ()
    """Processes that wait to take the place of one that dies; how they are is no part of whether all is well."""
    config: str | None = None
    """File from which it reads its sources again when asked."""

    @property
    def well(self) -> bool:
        """Whether every camera sends and every process runs."""
        cameras = all(camera.state in ("connected", "ended") for camera in self.cameras)
        return cameras and all(process.well for process in self.processes)


class _Camera:
    """What is known of one item."""

    def __init__(self, item: Item, state: CameraState) -> None:
        self.source = item.source
        self.state = state
        self.since = time.time()
        self.restarts = 0
        self.last_error = ""
        self.decoder = ""
        self.size: tuple[int, int] | None = None


class Monitor:
    """Collects it. `health` may be called from any thread, the others from one."""

    def __init__(self) -> None:
        self._started = time.time()
        self._cameras: dict[int, _Camera] = {}
        self._first: CameraState = "waiting"
        self._samples: deque[tuple[float, dict[int, tuple[int, int]]]] = deque()

    def begin(self, item: Item) -> None:
        """One more live item."""
        self._cameras[item.item] = _Camera(item, self._first)

    def begin_live(self) -> None:
        """Those that are there are connected to from now on, and further ones at once."""
        self._first = "connecting"
        for camera in self._cameras.values():
            if camera.state == "waiting":
                camera.state, camera.since = "connecting", time.time()

    def end(self, item: int) -> None:
        """It was told to leave."""
        self._cameras.pop(item, None)

    def state(self, state: SourceState) -> None:
        """A camera came or went."""
        camera = self._cameras.get(state.item)
        if camera is None:
            return
        if camera.state != state.state:
            camera.state, camera.since = state.state, time.time()
        if state.state == "connected":
            camera.decoder, camera.size = state.decoder, state.size
        if state.state == "lost":
            camera.restarts += 1
            camera.last_error = state.reason

    def sample(self, metrics: Iterable[WorkerMetrics]) -> None:
        """Called every second: remember how far the counters are."""
        now = time.monotonic()
        totals = {item: (counts.arrived, counts.analysed) for item, counts in _totals(metrics).items()}
        self._samples.append((now, totals))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _SPAN:
            self._samples.popleft()

    def health(self, metrics: tuple[WorkerMetrics, ...], spares: tuple[SpareMetrics, ...] = ()) -> Health:
        """How everything is now."""
        totals = _totals(metrics)
        rates = self._rates()
        cameras = []
        for item, camera in list(self._cameras.items()):
            counts = totals.get(item, SourceCounters())
            fps_in, fps_analysed = rates.get(item, (0.0, 0.0))
            cameras.append(
                CameraHealth(
                    source=camera.source,
                    state=camera.state,
                    since=camera.since,
                    fps_in=fps_in,
                    fps_analysed=fps_analysed,
                    dropped=counts.dropped,
                    latency=counts.latency or None,
                    last_face=counts.last_face or None,
                    restarts=camera.restarts,
                    last_error=camera.last_error,
                    decoder=camera.decoder,
                    size=camera.size,
                )
            )
        return Health(pid=os.getpid(), started=self._started, cameras=tuple(cameras), processes=metrics, spares=spares)

    def _rates(self) -> dict[int, tuple[float, float]]:
        samples = list(self._samples)
        if len(samples) < 2:
            return {}
        (then, before), (now, after) = samples[0], samples[-1]
        found = {}
        for item, (arrived, analysed) in after.items():
            old = before.get(item, (0, 0))
            found[item] = (round((arrived - old[0]) / (now - then), 2), round((analysed - old[1]) / (now - then), 2))
        return found


def _totals(metrics: Iterable[WorkerMetrics]) -> dict[int, SourceCounters]:
    totals: dict[int, SourceCounters] = {}
    for process in metrics:
        for item, counts in process.counters.sources.items():
            totals[item] = totals[item].plus(counts) if item in totals else counts
    return totals


class StatusServer(threading.Thread):
    """Answers at the socket in `folder` until closed."""

    def __init__(self, folder: Path, answers: Mapping[str, Callable[[], object]]) -> None:
        """`answers`: by question, what gives the value that is sent as JSON; called in this thread."""
        super().__init__(name="vultus-status", daemon=True)
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(folder / _NAME))
        os.chmod(folder / _NAME, 0o600)
        self._socket.listen(8)
        self._closed = threading.Event()

    def run(self) -> None:
        """Answer one client after the other."""
        while not self._closed.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError as error:
                # No more open files, which passes; others shall hear how the job is then.
                if not self._closed.wait(_PAUSE):
                    _log.warning("the status socket: %s", error)
                continue
            with client:
                client.settimeout(_PATIENCE)
                try:
                    self._answer(client)
                except OSError as error:
                    _log.info("a client of the status socket: %s", error)

    def close(self) -> None:
        """Answer nobody any more."""
        self._closed.set()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which closing alone does not
        finally:
            self._socket.close()
        self.join()

    def _answer(self, client: socket.socket) -> None:
        question = b""
        while b"\n" not in question and len(question) <= _MAX_QUESTION:
            piece = client.recv(_MAX_QUESTION)
            if not piece:
                return
            question += piece
        word = question.partition(b"\n")[0].decode("ascii", "replace")
        give = self._answers.get(word)
        try:
            answer = {"error": f"no such question; known are {', '.join(self._answers)}"} if give is None else give()
        except Exception as error:  # noqa: BLE001 -- whatever it is, who asks next is to get an answer
            _log.exception("cannot answer %r", word)
            answer = {"error": redact_text(f"{type(error).__name__}: {error}")}
        client.sendall(msgspec.json.encode(answer))


def ask(folder: Path, question: str) -> bytes:
    """The answer of the job in `folder`, as JSON. Raises OSError if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10 * _PATIENCE)
        client.connect(str(folder / _NAME))
        client.sendall(question.encode() + b"\n")
        answer = bytearray()
        while piece := client.recv(1 << 16):
            answer += piece
            if len(answer) > _MAX_ANSWER:
                raise OSError("an answer without end")
        return bytes(answer)


def jobs() -> list[Path]:
    """Folders of this user's running jobs that can be asked, oldest first."""
    found = [folder for folder in run_folders() if (folder / _NAME).exists()]
    return sorted(found, key=lambda folder: (folder / _NAME).stat().st_mtime)
