"""Files on disk: hashed before use, written whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PATIENCE, _POLL = 3.0, 0.05
"""Seconds after which it is said who holds a folder, and between two looks until then."""

_PIECE = 1 << 20

_log = logging.getLogger("vultus.weights")


def sha256_of(path: Path, size: int) -> tuple[str, bytes]:
    """SHA-256, in hexadecimal, of the first `size` bytes of a file, read in pieces, and what stands behind them, of which
    no more than a thousand bytes."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (piece := file.read(min(_PIECE, left))):
            digest.update(piece)
            left -= len(piece)
        return digest.hexdigest(), file.read(1000)


def matches(path: Path, sha256: str, size: int) -> bool:
    """Whether the file has that length and hash; FileNotFoundError if there is none."""
    return path.stat().st_size == size and sha256_of(path, size)[0] == sha256


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that after a crash there is the old file or the new one, never a part.

    The folder is synced too: until then a rename may be undone by a power cut. The part has one name, which a killed
    process leaves behind and the next one writes over, so the caller holds the folder with `locked`.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # a full disk, as a rule: give the room back, and say which file it was
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    settle(part, path)


def settle(part: Path, path: Path) -> None:
    """Put the synced file `part` at `path` for good."""
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; others wait, and after some seconds say in the log for whom.

    The system frees the lock when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        if not _taken(file, _PATIENCE):
            file.seek(0)
            _log.warning("waiting for process %s, which is fetching into %s", file.read(20).strip() or "?", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _taken(file: IO[str], patience: float) -> bool:
    """Whether the lock came within so many seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        else:
            return True
