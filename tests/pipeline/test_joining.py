"""Cameras that share a process, join it and leave it; files that come while a job runs."""

from collections import Counter

import pytest
from test_pipeline import INDEX, WATCH, item, job

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as DecodeConfig
from vultus.pipeline.messages import ItemDone, Sighting, SourceState, WorkerState

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
