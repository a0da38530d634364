"""What joins the sources of `vultus watch` while it runs: files in folders, and changes of its configuration."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from vultus.cli.console import say
from vultus.configs.errors import ConfigError
from vultus.configs.schema import Source
from vultus.pipeline.supervisor import Pipeline
from vultus.stages.watchlist import WatchList

_LOOK = 1.0
"""Seconds between two looks into the folders."""
_SHARE = 0.1
"""Of the time, at most so much goes into looking: a folder of a hundred thousand files is walked more rarely."""


class Following:
    """While inside, what joins: files that come into folders, and sources of the configuration at SIGHUP or a request."""

    def __init__(
        self, watched: WatchList, pipeline: Pipeline, read: Callable[[], tuple[Source, ...]] | None, *, files: bool
    ) -> None:
        """`files`: whether to look for further ones.

        `read` gives the configuration's sources again, or raises ConfigError; none if there is no configuration.
        """
        self._watched, self._pipeline, self._read = watched, pipeline, read
        self._files = files
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = self._asked = False
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)
        self._before: Any = None

    def __enter__(self) -> Following:
        self._pipeline.reload = self.reload
        self._before = signal.signal(signal.SIGHUP, self._hang_up) if self._read is not None else None
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._read is not None:
            signal.signal(signal.SIGHUP, self._before)
        self._over = True
        self._wake.set()
        self._thread.join()

    def reload(self) -> dict[str, Any]:
        """Read the sources again and watch those; what changed, or why nothing did. From any thread."""
        if self._read is None:
            return {"error": "its sources came from the command line, not from a configuration"}
        with self._lock:
            try:
                sources = self._read()
            except ConfigError as error:
                return {"error": str(error)}
            if not sources:
                return {"error": "the configuration lists no sources any more"}
            change = self._watched.change(sources)
            refused = list(change.refused)
            for number in change.left:
                self._pipeline.remove(number)
            for item in change.joined:
                try:
                    self._pipeline.add(item)
                except ValueError as error:
                    refused.append(f"{error}; restart to watch it")
            return {"added": change.added, "removed": change.removed, "changed": change.changed, "refused": refused}

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        self._wake.set()

    def _follow(self) -> None:
        pause = _LOOK
        while True:
            self._wake.wait(pause if self._files else None)
            self._wake.clear()
            if self._over:
                return
            if self._asked:
                self._asked = False
                tell_change(self.reload())
            if not self._files:
                continue
            begun = time.monotonic()
            with self._lock:
                for item in self._watched.fresh():
                    self._pipeline.add(item)
            pause = max(_LOOK, (time.monotonic() - begun) / _SHARE)


def tell_change(answer: dict[str, Any]) -> None:
    """What a reload did, as lines for the person at the terminal."""
    if "error" in answer:
        say(f"not reloaded: {answer['error']}", style="yellow")
        return
    changes = [f"{word} {name}" for word in ("added", "removed", "changed") for name in answer[word]]
    say(f"reloaded: {'; '.join(changes) or 'nothing changed'}")
    for refused in answer["refused"]:
        say(f"refused: {refused}", style="yellow")
