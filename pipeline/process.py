"""One stage process, as its supervisor holds it: start, watch, signal, and what it said before it ended."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec

from vultus.configs.address import redact_text
from vultus.pipeline.child import ChildSpec
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.transport import Loop

_KEPT_LINES = 40
_MAX_LINE = 2000
_MAX_REST = 65_536
"""Bytes kept of a line whose end has not come."""
_PIPE_BYTES = 65_536
"""What a pipe holds unless it is told to hold more."""
_DIES_WITHIN = 2.0
"""Seconds that the kernel may take to end a process that was killed; one that waits for a dead disk may take for ever."""
_log = logging.getLogger("vultus.worker")


def _nobody(_line: str) -> None:
    """Where the log is enough."""


class WorkerProcess:
    """A child process in a session of its own, so that Ctrl-C at the terminal reaches only its supervisor.

    What it writes to standard error goes to the logger `vultus.worker`, and its last lines are kept.
    """

    def __init__(
        self,
        loop: Loop,
        spec: ChildSpec,
        ended: Callable[[WorkerProcess], None],
        *,
        module: str = "vultus.pipeline.worker",
        heard: Callable[[str], None] = _nobody,
    ) -> None:
        """Runs `module` with `spec` as its task. `ended` is called once, in the loop, when the process is gone, and `heard`
        with each line that it writes to standard error."""
        self._loop, self._ended, self._heard = loop, ended, heard
        self._title = spec.title
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._rest = b""
        # The group's name is there for the reader of a process list; everything else goes through standard input.
        command = [sys.executable, "-P", "-m", module, self._title]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerFailed(f"cannot start a process for {self._title}: {error}") from error
        self.pid = self._process.pid
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError as error:  # no more open files: nobody would notice its end
            self._pidfd = -1
            self._process.kill()
            self._process.wait()
            self._close_pipes()
            raise WorkerFailed(f"cannot watch over a process for {self._title}: {error}") from error
        assert self._process.stderr is not None
        self._stderr = self._process.stderr.fileno()
        os.set_blocking(self._stderr, False)
        loop.on_file(self._pidfd, self._exited)
        loop.on_file(self._stderr, self._listen)
        self._reading = True
        self._give(spec)

    def become(self, spec: ChildSpec, ended: Callable[[WorkerProcess], None]) -> None:
        """Give a process that waits for a further task this one; its end is told as said here."""
        self._title, self._ended = spec.title, ended
        self._give(spec)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        self._process.send_signal(number)

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP or the like holds it (state T of `/proc/<pid>/stat`; not a debugger, which is t)."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[:1] == [b"T"]
        except (FileNotFoundError, ProcessLookupError):
            return False

    @property
    def last_words(self) -> str:
        """Its last line on standard error that says anything."""
        return next((line for line in reversed(self._lines) if line.strip()), "")

    @property
    def how_it_ended(self) -> str:
        """Exit code or signal, in words."""
        code = self._process.returncode
        if code is None:
            return "is running"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` gives it; none while it runs."""
        return self._process.returncode

    def kill_now(self) -> None:
        """Kill it and wait until it is gone, outside of the loop."""
        self._process.kill()
        try:
            self._process.wait(_DIES_WITHIN)
        except subprocess.TimeoutExpired:
            _log.warning("%s (process %d) was killed and is still not gone", self._title, self.pid)
        self._forget()

    def _give(self, spec: ChildSpec) -> None:
        stdin, task = self._process.stdin, msgspec.json.encode(spec) + b"\n"
        assert stdin is not None
        try:
            if len(task) > _PIPE_BYTES:  # else writing would wait for a process that may be stopped
                # Not more than /proc/sys/fs/pipe-max-size: then it has to be read meanwhile.
                with suppress(PermissionError):
                    fcntl.fcntl(stdin, fcntl.F_SETPIPE_SZ, len(task))
            stdin.write(task)
        except BrokenPipeError:
            _log.debug("%s ended before it took its task", self._title)  # `ended` will tell

    def _exited(self) -> None:
        self._process.wait()
        while self._reading and self._read():
            continue
        if self._rest:  # a last line without an end, as a crashing library leaves it
            self._take_line(self._rest)
        self._forget()
        self._ended(self)

    def _forget(self) -> None:
        if self._pidfd < 0:
            return
        self._loop.forget_file(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._stop_reading()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _listen(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Take what is there on standard error; false if that was nothing."""
        try:
            piece = os.read(self._stderr, 65_536)
        except BlockingIOError:
            return False
        if not piece:
            self._stop_reading()
            return False
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._rest = self._rest[:_MAX_REST]
        for line in lines:
            self._take_line(line)
        return True

    def _take_line(self, line: bytes) -> None:
        # Shortened afterwards: of an address that is cut before its `@`, nobody can tell that it holds a password.
        text = redact_text(line.decode("utf-8", "replace"))[:_MAX_LINE]
        self._lines.append(text)
        _log.info("%s: %s", self._title, text)
        self._heard(text)

    def _stop_reading(self) -> None:
        if self._reading:
            self._loop.forget_file(self._stderr)
            self._reading = False
