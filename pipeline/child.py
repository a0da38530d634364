"""What every process that vultus starts does first.

Its task comes as one line of JSON on standard input, never as an argument, which every user of the machine could read.
Standard input then stays open: its end means that whoever started it is gone, and it ends too.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType
from typing import NoReturn, Protocol, TypeVar

import msgspec
from msgspec import Struct

EXIT_FAILED = 3
_MAX_BYTES = 16 << 20
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class ChildSpec(Struct, frozen=True, kw_only=True):
    """What every one of them has to know; each kind adds its own."""

    title: str
    """What `top` calls it, cut to 15 bytes."""
    parent: int
    sys_path: tuple[str, ...]
    """Where who started it finds modules."""


class Program(Protocol):
    """What one of them is."""

    def run(self) -> int:
        """Until it ends; the exit code."""
        ...

    def quit(self) -> None:
        """End in order; safe from a signal handler."""
        ...


T = TypeVar("T", bound=ChildSpec)


def run(kind: type[T], make: Callable[[T], Program]) -> int:
    """The whole life of such a process, which ends in order on SIGTERM; the exit code."""
    program = make(begin(kind))

    def quit_in_order(_number: int, _frame: FrameType | None) -> None:
        program.quit()

    signal.signal(signal.SIGTERM, quit_in_order)
    return program.run()


def begin(kind: type[T]) -> T:
    """What this process is to do, once it is one that outlives nobody and finds its modules."""
    spec = _read_task(kind)
    _harden(spec.parent, spec.title)
    sys.path.extend(path for path in spec.sys_path if path not in sys.path)
    return spec


def socket_thread(loop: AbstractContextManager[object], run: Callable[[], None]) -> threading.Thread:
    """The thread that owns the sockets: `run` while `loop` is open. What fails there ends the process, of no use without."""

    def own() -> None:
        try:
            with loop:
                run()
        except BaseException:  # noqa: BLE001 -- whatever the reason
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(EXIT_FAILED)

    return threading.Thread(target=own, name="sockets")


def parent_gone() -> NoReturn:
    """What the end of standard input means."""
    os._exit(0)


def _read_task(kind: type[T]) -> T:
    """The next line of standard input; its end is left to whoever looks at the file itself."""
    line = sys.stdin.buffer.readline(_MAX_BYTES)
    if not line.endswith(b"\n"):
        raise SystemExit("vultus starts this program itself, with its task on standard input")
    return msgspec.json.decode(line, type=kind)


def _harden(parent: int, title: str) -> None:
    """See to it that this process outlives its supervisor in no case and leaves no trace but on standard error."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_PR_SET_NAME, title.encode(), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(0)
    # A core file would hold faces and passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Of the thread that got the signal only: to walk another that is running would be a crash of its own.
    faulthandler.enable(all_threads=False)
    # A library that prints must not write into the results of the command that started all this.
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
