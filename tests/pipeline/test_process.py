"""One stage process as its supervisor holds it, when files or patience run out."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.process import WorkerProcess
from vultus.pipeline.spare import READY, SpareSpec
from vultus.pipeline.transport import Loop


def spec(room: int = 0) -> SpareSpec:
    """A task of at least so many bytes."""
    return SpareSpec(title="test", parent=os.getpid(), sys_path=(*sys.path, "x" * room), factory="toys:build")


def spare(loop: Loop) -> WorkerProcess:
    return WorkerProcess(loop, spec(), lambda _process: None, module="vultus.pipeline.spare")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_one_that_nobody_could_watch_over_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def refuse(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with Loop() as loop:
        before = open_files()
        with pytest.raises(WorkerFailed, match=r"cannot watch over a process for test: .*Too many open files"):
            spare(loop)
        assert open_files() == before
    assert not Path(f"/proc/{started[0]}").exists()


def test_a_task_larger_than_a_pipe_waits_for_nobody() -> None:
    """The thread that gives it looks after all other processes; and this one may be stopped."""
    with Loop() as loop:
        process = spare(loop)
        process.signal(signal.SIGSTOP)
        giving = threading.Thread(target=process.become, args=(spec(300_000), lambda _process: None), daemon=True)
        giving.start()
        giving.join(5)
        stuck = giving.is_alive()
        process.kill_now()
    assert not stuck


def test_a_task_larger_than_a_pipe_may_be_arrives_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    said: list[str] = []
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with Loop() as loop:
        process = WorkerProcess(
            loop, spec(300_000), lambda _process: loop.stop(), module="vultus.pipeline.spare", heard=said.append
        )
        loop.run(lambda: loop.stop() if said else None)
        process.kill_now()
    assert said == [READY]


def test_one_that_outlives_its_kill_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loop() as loop:
        process = spare(loop)

        def never(*_: object) -> int:
            raise subprocess.TimeoutExpired("python", 0.0)

        before = open_files()
        with monkeypatch.context() as patch:
            patch.setattr(subprocess.Popen, "wait", never)
            process.kill_now()
        assert open_files() == before - 3, "its pipes and its handle"
        process.kill_now()
