"""The processes that `vultus worker` keeps running on a host, each of them a worker of some group of the main machine."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from vultus.configs.schema import Config, Group
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.outpost import OutpostSpec
from vultus.pipeline.process import WorkerProcess
from vultus.pipeline.transport import Loop

HEALTHY_AFTER = 10.0
_LOOK_EVERY = 0.5
"""Seconds between looks whether somebody stopped a process: the main machine gives its work to others, but cannot end it."""


class Assignment(Struct, frozen=True):
    """A group that this host works for."""

    job: str
    """`watch` or `index`."""
    group: Group
    address: str

    @property
    def title(self) -> str:
        """As a process list and messages show it."""
        return f"{self.job}/{self.group.name}"


class _Place:
    """One process, and those before it."""

    def __init__(self, assignment: Assignment, number: int) -> None:
        self.assignment, self.title = assignment, f"{assignment.title}[{number}]"
        self.process: WorkerProcess | None = None
        self.deaths = 0
        self.started = 0.0


def assignments(
    config: Config, host: str, main: str | None = None, workers: int | None = None
) -> tuple[Assignment, ...]:
    """What `host` is to do, with `workers` processes for each group instead of the configured ones.

    `main` replaces the main machine's address in `listen`, for one behind a translating router."""
    found = []
    for job, groups in (("watch", config.pipeline.watch), ("index", config.pipeline.index)):
        for group in groups:
            if host in group.hosts and group.listen is not None:
                address = group.listen if main is None else f"tcp://{main}:{group.listen.rpartition(':')[2]}"
                found.append(Assignment(job, group if workers is None else replace(group, workers=workers), address))
    return tuple(found)


class Hosted:
    """Runs them until `stop`. A process that died is started again, with growing pauses, for ever."""

    def __init__(
        self,
        config: Config,
        todo: Iterable[Assignment],
        tell: Callable[[str, str], None],
        *,
        factory: str = "vultus.stages.registry:build",
    ) -> None:
        """`tell(title, text)` hears what each process has to say."""
        # Passwords of cameras and databases are no business of these processes.
        self._config = replace(config, sources=(), gallery=None)
        self._tell, self._factory = tell, factory
        self._loop = Loop()
        self._places = [
            _Place(assignment, number)
            for assignment in todo
            for number in range(assignment.group.workers if isinstance(assignment.group.workers, int) else 1)
        ]
        self._stopping = self._hurried = False

    def run(self) -> None:
        """Until `stop`."""
        with self._loop:
            try:
                for place in self._places:
                    self._begin(place)
                self._loop.every(_LOOK_EVERY, self._look)
                self._loop.run(self._turn)
            finally:
                for place in self._places:
                    if place.process is not None:
                        place.process.kill_now()

    def stop(self) -> None:
        """End soon; safe from a signal handler."""
        self._stopping = True
        self._loop.wake()

    def _turn(self) -> None:
        if not self._stopping:
            return
        running = [place.process for place in self._places if place.process is not None]
        if not running:
            self._loop.stop()
        elif not self._hurried:
            self._hurried = True
            for process in running:
                process.signal(signal.SIGTERM)
            self._loop.after(self._config.pipeline.stop_within, self._loop.stop)

    def _start(self, place: _Place) -> None:
        if self._stopping:
            return
        try:
            self._begin(place)
        except WorkerFailed as error:  # short of memory or processes just now
            pause = self._config.pipeline.restart_max
            self._tell(place.title, f"{error}; the next try comes in {pause:g} s")
            self._loop.after(pause, lambda: self._start(place))

    def _look(self) -> None:
        for place in self._places:
            if place.process is not None and place.process.stopped:
                self._tell(place.title, "was stopped (SIGSTOP) and is killed")
                place.process.signal(signal.SIGKILL)

    def _begin(self, place: _Place) -> None:
        place.started = time.monotonic()
        spec = OutpostSpec(
            title=place.title,
            parent=os.getpid(),
            address=place.assignment.address,
            config=self._config,
            factory=self._factory,
            sys_path=tuple(path for path in sys.path if path),
        )
        place.process = WorkerProcess(
            self._loop,
            spec,
            lambda process: self._ended(place, process),
            module="vultus.pipeline.outpost",
            heard=lambda line: self._tell(place.title, line),
        )

    def _ended(self, place: _Place, process: WorkerProcess) -> None:
        place.process = None
        if self._stopping:
            return
        if time.monotonic() - place.started > HEALTHY_AFTER:
            place.deaths = 0
        pipeline = self._config.pipeline
        pause = min(pipeline.restart_max, pipeline.restart_first * 2.0 ** min(place.deaths, 30))
        place.deaths += 1
        self._tell(place.title, f"{process.how_it_ended}; started again in {pause:.1f} s")
        self._loop.after(pause, lambda: self._start(place))
