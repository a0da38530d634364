"""The private folder of a running job, where its sockets lie, and the removal of those that killed jobs left behind."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

from vultus.pipeline.errors import PipelineError

_PREFIX = "vultus-run-"
_LOCK = "lock"
_ROOM = 24
"""Bytes that a socket's name adds to the folder's path."""
_MAX_SOCKET_PATH = 107
_log = logging.getLogger(__name__)


class RunFolder:
    """A new folder that only this user may enter, locked for as long as the job lives."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def create(cls) -> RunFolder:
        """Make one, after removing those whose jobs are gone."""
        parent = _parent()
        _remove_stale(parent)
        while True:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            # Another job that is just starting may have taken the lock first, to remove the folder as a stale one.
            if _locked(lock) and (path / _LOCK).exists():
                return cls(path, lock)
            os.close(lock)

    def remove(self) -> None:
        """Take the folder away; once."""
        shutil.rmtree(self.path, ignore_errors=False)
        os.close(self._lock)


def run_folders() -> list[Path]:
    """Folders of this user's jobs that live."""
    found = []
    for path in _parent().glob(f"{_PREFIX}*"):
        try:
            if not path.is_symlink() and path.stat().st_uid == os.getuid() and not _abandoned(path):
                found.append(path)
        except OSError as error:
            _log.info("%s ended meanwhile: %s", path, error)
    return found


def _parent() -> Path:
    """The temporary folder, or `/tmp` if its path is too long for a socket."""
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 -- the folder below is made by mkdtemp
        if len(os.fsencode(parent)) + len(_PREFIX) + 8 + _ROOM <= _MAX_SOCKET_PATH:
            return parent
    raise PipelineError("no temporary folder with a path short enough for sockets")


def _remove_stale(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            if path.is_symlink() or path.stat().st_uid != os.getuid() or not _abandoned(path):
                continue
            shutil.rmtree(path)
        except OSError as error:
            # Two starting jobs may remove the same folder; whatever else it is, this job does not depend on it.
            _log.info("cannot remove the old run folder %s: %s", path, error)


def _abandoned(path: Path) -> bool:
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > 60  # its job may be about to create the lock
    try:
        return _locked(lock)
    finally:
        os.close(lock)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
