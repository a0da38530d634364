"""How the server has been: load, memory and queues over the last day, for the page that shows them."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from vultus.pipeline.health import Health
from vultus.server.desk import Desk

EVERY = 15.0
"""Seconds between two samples."""
_MOST = int(86_400 / EVERY)
_PAGE = resource.getpagesize()


class Sample(Struct, frozen=True, gc=False):
    """One moment."""

    at: float
    """Seconds since the epoch."""
    load: float
    """Processes that ran or waited to, over the last minute."""
    memory: int
    """Bytes of the server itself."""
    stages: int
    """Bytes of the stage processes together."""
    working: int
    waiting: int
    """At the desk."""


class Vitals:
    """Takes samples in a thread of its own while it is open."""

    def __init__(self, desk: Desk, health: Callable[[], Health | None]) -> None:
        self._desk, self._health = desk, health
        self._samples: deque[Sample] = deque(maxlen=_MOST)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vitals")
        self.started = time.time()

    def __enter__(self) -> Vitals:
        self.started = time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> Sample:
        """A sample of this moment."""
        health = self._health()
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * _PAGE
        return Sample(
            at=time.time(),
            load=os.getloadavg()[0],
            memory=resident,
            stages=0 if health is None else sum(process.counters.resident for process in health.processes),
            working=self._desk.working,
            waiting=self._desk.waiting,
        )

    def history(self) -> list[Sample]:
        """The samples of the last day, oldest first."""
        return list(self._samples)

    def _run(self) -> None:
        while True:
            self._samples.append(self.now())
            if self._over.wait(EVERY):
                return
