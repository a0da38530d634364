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
from typing import TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)

_MAX_BYTES = 16 << 20
_PR_SET_PDEATHSIG = 1


def read_task(kind: type[T]) -> T:
    """What this process is to do; nothing after its line is read, so that the end of input is seen later."""
    fd, line = sys.stdin.fileno(), bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(fd, 65_536)
        if not piece or len(line) + len(piece) > _MAX_BYTES:
            raise SystemExit("vultus starts this program itself, with its task on standard input")
        line += piece
    return msgspec.json.decode(line, type=kind)


def harden(parent: int) -> None:
    """See to it that this process outlives its supervisor in no case and leaves no trace but on standard error."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(0)
    # A core file would hold faces and passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Of the thread that got the signal only: to walk another that is running would be a crash of its own.
    faulthandler.enable(all_threads=False)
    # A library that prints must not write into the results of the command that started all this.
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
