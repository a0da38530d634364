"""The supervisor's side of a spare process (`pipeline/spare.py`): at most one, for the next place that gets empty."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.process import WorkerProcess
from vultus.pipeline.spare import SpareSpec
from vultus.pipeline.transport import Loop
from vultus.pipeline.worker import WorkerSpec

_log = logging.getLogger(__name__)


class Standby:
    """Belongs to the thread that runs the loop."""

    def __init__(self, loop: Loop, spec: SpareSpec, retry: float) -> None:
        """`retry`: seconds after which one that died is replaced."""
        self._loop, self._spec, self._retry = loop, spec, retry
        self._waiting: WorkerProcess | None = None
        self._over = False

    @property
    def pid(self) -> int | None:
        """Of the one that waits."""
        return self._waiting.pid if self._waiting is not None else None

    def fill(self) -> None:
        """See to it that one is there, or will be."""
        if self._over or self._waiting is not None:
            return
        try:
            self._waiting = WorkerProcess(self._loop, self._spec, self._ended, module="vultus.pipeline.spare")
        except WorkerFailed as error:
            _log.debug("no spare process: %s", error)
            self._loop.after(self._retry, self.fill)

    def take(self, task: WorkerSpec, ended: Callable[[WorkerProcess], None]) -> WorkerProcess | None:
        """The one that waits, which does `task` from now on; none if none waits."""
        process, self._waiting = self._waiting, None
        if process is not None:
            process.become(task, ended)
        return process

    def dismiss(self) -> None:
        """None is needed any more; kills the one that waits, and waits until it is gone."""
        self._over = True
        if self._waiting is not None:
            self._waiting.kill_now()
            self._waiting = None

    def _ended(self, process: WorkerProcess) -> None:
        _log.debug("the spare process %s; %s", process.how_it_ended, process.last_words)
        self._waiting = None
        self._loop.after(self._retry, self.fill)
