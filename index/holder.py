"""Who holds the right to write: a line in a file of its own, for those who wait for it in vain.

SQLite's lock says that somebody writes, not who. Whoever has it writes a line and then takes a lock (flock) on the
file; the kernel gives that back with the process, however it ends, so a line without a lock is of the past.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

NAME = "gallery.writer"
_SIZE = 512


class Holder:
    """The line about this process. Without the file (read-only folder, full disk) there is none, which is no error."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file: int | None = None

    def take(self, who: str) -> None:
        """Say that this process writes from now on; only while it has SQLite's lock."""
        line = f"{time.time():.3f} {who}\n".encode("utf-8", "replace")[:_SIZE].ljust(_SIZE)
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._file, line, 0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def give_back(self) -> None:
        """Say that it is done."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back; it stays in the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def holder(folder: Path) -> tuple[str, float] | None:
    """Return which process writes to the gallery now, in words, and since when; none if that is not known."""
    try:
        with open(folder / NAME, "rb") as file:
            line = file.read(_SIZE)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        since, _, who = line.decode("utf-8", "replace").strip().partition(" ")
        with contextlib.suppress(ValueError):
            return who, float(since)
    except OSError:
        pass
    return None
