"""Files on disk: hashed before use, written whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(path: Path, sha256: str, size: int) -> bool:
    """Whether the file has that length and hash; FileNotFoundError if there is none."""
    return path.stat().st_size == size and sha256_of(path) == sha256


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
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; others wait. The system frees the lock when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
