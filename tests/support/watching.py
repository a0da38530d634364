"""Support for tests of `vultus watch`: the command in the background, and what it prints."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import IO, Any

from cli_process import COMMAND


class Watching:
    """A running `vultus watch --json`: its sightings and its words, as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[dict[str, Any]] = []
        self.said: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._threads = [
            Thread(target=self._read, args=(process.stdout, lambda line: self.seen.append(json.loads(line)))),
            Thread(target=self._read, args=(process.stderr, self.said.append)),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(stream: IO[str], take: Any) -> None:
        for line in stream:
            take(line)

    def until(self, what: Any, seconds: float) -> None:
        """Wait until `what()` is true."""
        end = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, "".join(self.said)
            assert time.monotonic() < end, f"not within {seconds} s\n{self.seen}\n{''.join(self.said)}"
            time.sleep(0.02)

    def names(self) -> set[str | None]:
        """Who was seen so far."""
        return {one["name"] for one in self.seen}

    def end(self) -> float:
        """Ctrl-C; returns how many seconds it took to end."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        for thread in self._threads:
            thread.join()
        return time.monotonic() - start


@contextmanager
def watching(*arguments: object, environment: dict[str, str] | None = None) -> Iterator[Watching]:
    """`vultus watch ARGUMENTS --json` in the background."""
    command = [*COMMAND, "watch", *map(str, arguments), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ) as process:
        watch = Watching(process)
        try:
            yield watch
        finally:
            process.kill()
