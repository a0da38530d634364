"""The processes that have loaded all libraries already and take the place of one that dies."""

import os
import signal
import time
from pathlib import Path

import pytest
from test_pipeline import WATCH, item, job

from vultus.configs.schema import Config, Group
from vultus.configs.schema import Pipeline as Settings
from vultus.pipeline import fleet
from vultus.pipeline.messages import Sighting, WorkerState
from vultus.pipeline.supervisor import Pipeline

FEW = (WATCH[0], Group(name="rest", stages=("detect", "track", "align", "embed", "match")))


def called(name: str) -> set[int]:
    """Children of this process that the kernel calls so."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = entry.read_text().partition("(")
        except OSError:
            continue
        title, _, rest = after.rpartition(")")
        if title == name and int(rest.split()[1]) == os.getpid():
            found.add(int(before))
    return found


def ready(pipeline: Pipeline) -> set[int]:
    """Spares that wait for a place."""
    return {spare.pid for spare in pipeline.health().spares if spare.state == "ready"}


@pytest.mark.slow
def test_two_deaths_one_after_the_other_are_served_and_spares_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SPARE_AFTER", 0.1)
    config = Config(pipeline=Settings(restart_first=0.01, restart_max=0.1, spares=2))
    step, victim = 0, 0
    waiting: set[int] = set()
    end = time.monotonic() + 60
    with job(FEW, config, live_sources=1, has_files=False) as pipeline:
        for result in pipeline.run([item(0, kind="camera", every=0.01)], seconds=60):
            there = ready(pipeline)
            if step == 0 and len(there) == 2:
                assert there == called("spare")
                assert all(spare.resident > 1e6 for spare in pipeline.health().spares)
                waiting, (victim,) = there, called("rest[0]")
                os.kill(victim, signal.SIGKILL)
                step = 1
            elif step in (1, 2) and isinstance(result, WorkerState) and result.state == "restarted":
                (successor,) = called("rest[0]")
                assert successor in waiting
                assert next(one.pid for one in pipeline.metrics() if one.group == "rest") == successor
                waiting.discard(successor)
                if step == 1:  # nobody waits until the next spare is ready
                    os.kill(successor, signal.SIGKILL)
                step += 1
            elif step == 3 and isinstance(result, Sighting) and len(there) == 2:
                waiting = there
                first, second = there
                os.kill(first, signal.SIGKILL)
                os.kill(second, signal.SIGSTOP)
                step = 4
            elif step == 4 and len(there) == 2 and not there & waiting:
                break
            assert time.monotonic() < end, step
        assert sum(one.restarts for one in pipeline.metrics()) == 2, "the end of a spare is no end of a stage"
    assert not called("spare")
