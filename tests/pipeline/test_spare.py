"""The process that has loaded all libraries already and takes the place of one that dies."""

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


@pytest.mark.slow
def test_it_takes_the_place_of_one_that_dies_and_is_replaced_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SPARE_AFTER", 0.1)
    config = Config(pipeline=Settings(heartbeat=0.1, restart_first=0.01, restart_max=0.1))
    spare = victim = 0
    later: set[int] = set()
    end = time.monotonic() + 60
    with job(FEW, config, live_sources=1, has_files=False) as pipeline:
        for result in pipeline.run([item(0, kind="camera", every=0.01)], seconds=60):
            if not victim and (waiting := called("spare")):
                (spare,), (victim,) = waiting, called("rest[0]")
                os.kill(victim, signal.SIGKILL)
            elif isinstance(result, WorkerState) and result.state == "restarted":
                assert called("rest[0]") == {spare}
                assert next(one.pid for one in pipeline.metrics() if one.group == "rest") == spare
            elif isinstance(result, Sighting) and called("rest[0]") == {spare} and not later:
                if later := called("spare"):
                    os.kill(later.copy().pop(), signal.SIGKILL)
            elif later and called("spare") - later:
                break
            assert time.monotonic() < end
        assert sum(one.restarts for one in pipeline.metrics()) == 1, "the end of a spare is no end of a stage"
    assert not called("spare")
