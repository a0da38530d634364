"""The ways a job ends: Ctrl-C, SIGTERM, `stop`, and the death of the job itself."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from vultus.pipeline.folder import RunFolder

JOB = """
import sys, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
sys.path.insert(0, {here!r})
from test_pipeline import WATCH, item, job
items = [item(n, kind="camera", every=0.005) for n in (0, 1)] + [item(9, kind="video", frames=10**6, label={label!r})]
with job(WATCH, live_sources=2) as pipeline:
    if {handled}:
        signal.signal(signal.SIGINT, lambda *_: pipeline.stop())
    told = False
    for result in pipeline.run(items):
        if not told and all(worker.state == "running" for worker in pipeline.metrics()):
            told = True
            print(pipeline._hub._plan.folder, *(worker.pid for worker in pipeline.metrics()), flush=True)
print("over", flush=True)
"""


class Job:
    def __init__(self, *, label="", handled=True):
        code = JOB.format(here=str(Path(__file__).parent), label=label, handled=handled)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        folder, *pids = line.split()
        self.folder, self.pids = Path(folder), [int(pid) for pid in pids]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def alive(self):
        return [pid for pid in self.pids if Path(f"/proc/{pid}").exists() and state(pid) != "Z"]


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


@pytest.mark.parametrize(
    ("label", "handled"),
    [
        ("", True),
        pytest.param("", False, marks=pytest.mark.slow),
        pytest.param("hang=detect", True, marks=pytest.mark.slow),
        pytest.param("hang=decode", True, marks=pytest.mark.slow),
        pytest.param("hang=decode", False, marks=pytest.mark.slow),
        pytest.param("hang=detect", False, marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_ends_everything_within_two_seconds(label, handled):
    with Job(label=label, handled=handled) as job:
        assert len(job.alive()) == 5
        assert job.folder.stat().st_mode & 0o777 == 0o700
        began = time.monotonic()
        job.process.send_signal(signal.SIGINT)
        out, err = job.process.communicate(timeout=10)
        took = time.monotonic() - began
        print(f"{took:.2f} s")
        assert took < 2.0
        assert job.alive() == []
        assert not job.folder.exists()
        assert out.endswith("over\n") if handled else "KeyboardInterrupt" in err


def test_kill_9_of_the_job_takes_its_processes_along_even_stopped_ones():
    with Job(label="hang=detect") as job:
        os.kill(job.pids[0], signal.SIGSTOP)
        job.process.kill()
        job.process.wait()
        end = time.monotonic() + 1.0
        while job.alive() and time.monotonic() < end:
            os.sched_yield()
        assert job.alive() == []
        assert job.folder.exists(), "nobody was there to remove it"
        RunFolder.create().remove()
        assert not job.folder.exists(), "the next job does"


def test_the_folder_of_a_running_job_is_left_alone():
    first = RunFolder.create()
    second = RunFolder.create()
    assert first.path.exists()
    assert first.path != second.path
    first.remove()
    second.remove()
    assert not first.path.exists()


def test_a_long_temporary_folder_is_no_obstacle(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = RunFolder.create()
    assert len(str(folder.path)) < 80
    folder.remove()
