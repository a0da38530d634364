"""The supervisor's side of spare processes (`pipeline/spare.py`), for the next places that get empty."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vultus.configs.schema import Pipeline
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.metrics import SpareMetrics, resident
from vultus.pipeline.process import WorkerProcess
from vultus.pipeline.spare import READY, SpareSpec
from vultus.pipeline.transport import Loop
from vultus.pipeline.worker import WorkerSpec

_log = logging.getLogger(__name__)


class _Spare:
    """One that waits, or loads libraries in order to."""

    def __init__(self, loop: Loop, spec: SpareSpec, ended: Callable[[_Spare], None]) -> None:
        self.ready = False
        self.process = WorkerProcess(
            loop, spec, lambda _process: ended(self), module="vultus.pipeline.spare", heard=self._heard
        )

    def _heard(self, line: str) -> None:
        self.ready = self.ready or line == READY


class Standby:
    """Belongs to the thread that runs the loop, but for `metrics`."""

    def __init__(self, loop: Loop, spec: SpareSpec, settings: Pipeline) -> None:
        self._loop, self._spec, self._settings = loop, spec, settings
        self._waiting: list[_Spare] = []
        self._failures = 0
        """Of spares that ended before they were ready, in a row."""
        self._over = False

    def metrics(self) -> tuple[SpareMetrics, ...]:
        """Those that are there; from any thread."""
        return tuple(
            SpareMetrics(
                pid=spare.process.pid,
                state="ready" if spare.ready else "starting",
                resident=resident(spare.process.pid),
            )
            for spare in list(self._waiting)
        )

    def fill(self) -> None:
        """See to it that as many are there as are wanted, or will be."""
        while not self._over and len(self._waiting) < self._settings.spares:
            try:
                self._waiting.append(_Spare(self._loop, self._spec, self._ended))
            except WorkerFailed as error:
                _log.info("no spare process: %s", error)
                self._loop.after(self._settings.restart_max, self.fill)
                return

    def take(self, task: WorkerSpec, ended: Callable[[WorkerProcess], None]) -> WorkerProcess | None:
        """One that waits, which does `task` from now on; none if none waits. The next one is started at once."""
        self.look()
        if not self._waiting:
            return None
        # One that still loads is ahead of one that would be started now.
        spare = next((spare for spare in self._waiting if spare.ready), self._waiting[0])
        self._waiting.remove(spare)
        spare.process.become(task, ended)
        self.fill()
        return spare.process

    def look(self) -> None:
        """Replace those that somebody stopped, which could stand in for nobody."""
        for spare in [spare for spare in self._waiting if spare.process.stopped]:
            _log.warning("the spare process %d was stopped (SIGSTOP) and is killed", spare.process.pid)
            self._waiting.remove(spare)
            spare.process.kill_now()
            self.fill()

    def dismiss(self) -> None:
        """None is needed any more; kills those that wait, and waits until they are gone."""
        self._over = True
        while self._waiting:
            self._waiting.pop().process.kill_now()

    def _ended(self, spare: _Spare) -> None:
        self._waiting.remove(spare)
        _log.info("the spare process %s; %s", spare.process.how_it_ended, spare.process.last_words)
        self._failures = 0 if spare.ready else self._failures + 1
        pause = self._settings.restart_first * 2.0 ** min(self._failures, 30)
        self._loop.after(min(self._settings.restart_max, pause), self.fill)
