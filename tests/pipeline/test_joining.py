"""Cameras that share a process, join it and leave it; files that come while a job runs."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import INDEX, WATCH, item, job

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as DecodeConfig
from vultus.configs.schema import Pipeline as Settings
from vultus.pipeline import fleet
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.messages import ItemDone, Sighting, SourceState, WorkerState
from vultus.pipeline.process import WorkerProcess

SHARED = Config(decode=DecodeConfig(cameras_per_process=2))


@pytest.mark.slow
def test_cameras_share_processes_join_and_leave() -> None:
    seen: Counter[int] = Counter()
    ended: list[int] = []
    step = 0
    with job(WATCH, SHARED, live_sources=3, has_files=False, factory="toys:build_cameras") as pipeline:
        for result in pipeline.run([item(number, kind="camera") for number in range(3)], seconds=30):
            if isinstance(result, Sighting):
                seen[result.item] += 1
            elif isinstance(result, ItemDone):
                ended.append(result.item)
            else:
                assert not isinstance(result, WorkerState), result
            if step == 0 and all(seen[number] >= 3 for number in range(3)):
                decoders = [one for one in pipeline.metrics() if one.group == "decode"]
                assert len(decoders) == 2
                pipeline.remove(1)
                pipeline.add(item(3, kind="camera"))
                pipeline.add(item(4, kind="camera"))
                pipeline.add(item(5, kind="camera"))  # one more than two processes hold
                step = 1
            elif step == 1 and ended == [1] and seen[3] >= 3 and seen[4] >= 3 and seen[5] >= 3:
                before = dict(seen)
                step = 2
            elif step == 2 and all(seen[number] >= before[number] + 3 for number in (0, 2, 3, 4, 5)):
                assert seen[1] == before[1], "who left is not watched any more"
                pipeline.stop()
                step = 3
        assert len([one for one in pipeline.metrics() if one.group == "decode"]) == 3
    assert step == 3
    assert sorted(ended) == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_process_without_cameras_ends_and_one_that_comes_gets_its_place() -> None:
    seen: Counter[int] = Counter()
    step = gone = 0

    def decoders() -> list[tuple[str, int | None]]:
        return [(one.state, one.pid) for one in pipeline.metrics() if one.group == "decode"]

    with job(WATCH, live_sources=2, has_files=False, factory="toys:build_cameras") as pipeline:
        for result in pipeline.run([item(0, kind="camera"), item(1, kind="camera")], seconds=40, endless=True):
            assert not isinstance(result, WorkerState), "nothing died"
            if isinstance(result, Sighting):
                seen[result.item] += 1
            if step == 0 and seen[0] and seen[1]:
                started = decoders()
                pipeline.remove(0)
                step = 1
            elif step == 1 and ("ended", None) in decoders():
                gone = decoders().index(("ended", None))  # whoever asked first has camera 0
                assert decoders()[1 - gone] == started[1 - gone]
                pipeline.add(item(2, kind="camera"))
                step = 2
            elif step == 2 and seen[2] >= 3:
                state, again = decoders()[gone]
                assert (state, decoders()[1 - gone]) == ("running", started[1 - gone])
                assert again not in {pid for _, pid in started}
                pipeline.stop()
                step = 3
    assert step == 3


@pytest.mark.slow
def test_a_camera_joins_though_its_process_cannot_be_started_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def start(*arguments: Any, **options: Any) -> WorkerProcess:
        if len(refused) < 2:
            refused.append(arguments)
            raise WorkerFailed("cannot start a process: no memory")
        return WorkerProcess(*arguments, **options)

    config = Config(pipeline=Settings(restart_max=0.2))
    with job(WATCH, config, live_sources=1, has_files=False, factory="toys:build_cameras") as pipeline:
        for result in pipeline.run([item(0, kind="camera")], seconds=40):
            if isinstance(result, Sighting) and result.item == 0 and not refused:
                monkeypatch.setattr(fleet, "WorkerProcess", start)
                pipeline.add(item(1, kind="camera"))
            elif isinstance(result, Sighting) and result.item == 1:
                break
        else:
            pytest.fail("nobody was seen by the second camera")
    assert len(refused) == 2


@pytest.mark.slow
def test_what_was_open_once_is_tried_again_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As when a database is away for a while."""
    monkeypatch.setattr(fleet, "OPEN_FAILURES", 2)
    monkeypatch.setenv("TOYS_FRAME", str(tmp_path / "frame"))
    config = Config(pipeline=Settings(restart_first=0.01, restart_max=0.1))
    failures, killed = 0, False
    with job(WATCH, config, live_sources=1, has_files=False, factory="toys:build_breaking") as pipeline:
        for result in pipeline.run([item(0, kind="camera")], seconds=40):
            if isinstance(result, WorkerState) and result.state == "died":
                failures += "is away" in result.reason
                if failures == 3:
                    (tmp_path / "frame").unlink()
            elif isinstance(result, Sighting) and not killed:
                killed = True
                (tmp_path / "frame").touch()
                os.kill(next(one.pid for one in pipeline.metrics() if one.group == "people" and one.pid), 9)
            elif isinstance(result, Sighting) and failures >= 3:
                break
        else:
            pytest.fail("nobody was seen again")


@pytest.mark.slow
def test_a_death_takes_down_only_the_cameras_of_its_process(tmp_path) -> None:
    """Of four cameras, two in a process, one kills its own; the other two never miss more than a moment."""
    seen: Counter[int] = Counter()
    died = 0
    items = [item(number, kind="camera") for number in range(3)]
    items.append(item(3, kind="camera", label=f"die1=decode:{tmp_path / 'once'}"))
    with job(WATCH, SHARED, live_sources=4, has_files=False, factory="toys:build_cameras") as pipeline:
        for result in pipeline.run(items, seconds=30):
            if isinstance(result, WorkerState):
                died += result.state == "died"
            elif isinstance(result, Sighting) and died:
                seen[result.item] += 1
            if all(seen[number] >= 5 for number in range(4)):
                pipeline.stop()
        decoders = [one for one in pipeline.metrics() if one.group == "decode"]
    assert died == 1
    assert sorted(one.restarts for one in decoders) == [0, 1]
    assert all(seen[number] >= 5 for number in range(4))


@pytest.mark.slow
def test_files_come_while_an_endless_job_runs() -> None:
    done = []
    with job(INDEX) as pipeline:
        for result in pipeline.run([item(0)], seconds=30, endless=True):
            if isinstance(result, ItemDone):
                done.append(result.item)
                pipeline.add(item(len(done))) if len(done) < 3 else pipeline.stop()
            assert not isinstance(result, SourceState)
    assert done == [0, 1, 2]
    with job(WATCH, live_sources=1, has_files=False) as pipeline, pytest.raises(ValueError, match="no files"):
        pipeline.add(item(0))
