"""Whole jobs with real processes and toy stages."""

import time
from collections import Counter
from pathlib import Path

import pytest

from vultus.configs.schema import Config, Group, Source
from vultus.configs.schema import Pipeline as Settings
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.messages import Item, ItemDone, Sighting, SourceState, WorkerState
from vultus.pipeline.supervisor import Pipeline

INDEX = (
    Group(name="decode", stages=("decode",), workers=2, queue=3),
    Group(name="detect", stages=("detect",), workers=2, queue=2, max_batch=2),
    Group(name="faces", stages=("track", "align"), workers=2, queue=4, max_batch=4),
    Group(name="people", stages=("embed", "store"), max_batch=32),
)
WATCH = (
    Group(name="decode", stages=("decode",), workers="per-source", queue=2),
    Group(name="faces", stages=("detect", "track", "align"), max_batch=4),
    Group(name="people", stages=("embed", "match"), max_batch=8),
)


def item(number, *, kind="photo", label=None, **wish):
    address = ",".join(f"{name}={value}" for name, value in wish.items())
    return Item(item=number, attempt=0, kind=kind, source=f"s{number}", address=address, label=label)


def job(groups, config=None, **options):
    return Pipeline(config or Config(), groups, factory=options.pop("factory", "toys:build"), **options)


def dropped(pipeline):
    total = Counter()
    for worker in pipeline.metrics():
        total.update(worker.counters.dropped)
    return dict(total)


def test_lossless_loses_nothing_and_holds_the_source_back():
    given = 0

    def items():
        nonlocal given
        for number in range(40):
            given += 1
            yield item(number, kind="photo" if number % 4 else "video", frames=number % 7, label="slow=0.004")

    answers, ahead = [], 0
    with job(INDEX) as pipeline:
        for result in pipeline.run(items()):
            answers.append(result)
            ahead = max(ahead, given - len(answers))
        metrics = pipeline.metrics()
    assert sorted(answer.item for answer in answers) == list(range(40))
    assert {(answer.status, answer.attempt, answer.faces == answer.item % 7) for answer in answers} == {
        ("done", 0, True)
    }
    assert dropped(pipeline) == {}
    frames = sum(number % 7 for number in range(40))
    by_group = Counter()
    for worker in metrics:
        by_group[worker.group] += worker.counters.received
    assert by_group == {"decode": 40, "detect": frames + 40, "faces": frames + 40, "people": frames + 40}
    assert all(worker.counters.received for worker in metrics), "every replica had its share"
    assert sum(worker.counters.blocked for worker in metrics if worker.group == "decode") > 0.05
    assert ahead < 40, "the items were not listed before they could be taken"


def test_an_empty_job_ends():
    with job(INDEX[:1] + INDEX[3:]) as pipeline:
        assert list(pipeline.run([])) == []


def test_live_drops_the_oldest_and_is_fair():
    """Two cameras give 500 frames a second each, the second group takes about 100: what comes out is fresh and shared."""
    seen, states, lateness = {0: [], 1: []}, [], []
    with job(WATCH, live_sources=2, has_files=False) as pipeline:
        for result in pipeline.run([item(n, kind="camera", every=0.002, label="slow=0.01") for n in (0, 1)]):
            if isinstance(result, Sighting):
                seen[result.item].append(result.track)
                lateness.append(time.time() - result.time)
                if len(lateness) == 120:
                    pipeline.stop()
                    stopped = time.monotonic()
            else:
                states.append(result)
        ended = time.monotonic() - stopped
    for tracks in seen.values():
        assert tracks == sorted(set(tracks)), "each once and in order"
        assert tracks[-1] > 2 * len(tracks), "frames were left out"
    shares = sorted(len(tracks) for tracks in seen.values())
    assert shares[0] > 0.7 * shares[1], shares
    assert dropped(pipeline)["overload"] > 100
    print(f"lateness {min(lateness):.3f} to {max(lateness):.3f} s")
    assert max(lateness[20:]) < 0.5
    assert [state.state for state in states if isinstance(state, SourceState)] == ["connected"] * 2
    assert sorted(state.item for state in states if isinstance(state, ItemDone)) == [0, 1], (
        "what was on its way came out"
    )
    assert ended < 1.9


@pytest.mark.slow
def test_cameras_and_files_at_once():
    """A slow file loses nothing and does not stop the camera."""
    items = [item(0, kind="camera", every=0.01), item(1, kind="video", frames=20, label="slow=0.01"), item(2, frames=1)]
    seen = Counter()
    with job(WATCH, live_sources=1, has_files=True) as pipeline:
        for result in pipeline.run(items, seconds=30.0):
            seen[type(result).__name__, result.item] += 1
            if seen["ItemDone", 1] and seen["ItemDone", 2] and seen["Sighting", 0] > 20:
                pipeline.stop()
    assert seen["Sighting", 1] == 20
    assert seen["ItemDone", 1] == seen["ItemDone", 2] == 1
    assert seen["Sighting", 0] > 20


@pytest.mark.slow
def test_a_camera_that_is_quiet_for_long_does_not_hang():
    config = Config(pipeline=Settings(hang_after=1.0, heartbeat=0.1))
    with job(WATCH, config, live_sources=1, has_files=False) as pipeline:
        results = list(pipeline.run([item(0, kind="camera", every=30.0)], seconds=3.0))
    assert not [result for result in results if isinstance(result, WorkerState)]


@pytest.mark.slow
def test_the_caller_may_leave_early():
    with job(INDEX) as pipeline:
        for _ in pipeline.run(item(n, frames=3) for n in range(10_000)):
            break
        began = time.monotonic()
    assert time.monotonic() - began < 1.9
    assert {worker.state for worker in pipeline.metrics()} == {"ended"}


@pytest.mark.slow
def test_an_error_of_the_items_reaches_the_caller():
    def items():
        yield item(0)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"), job(INDEX) as pipeline:
        list(pipeline.run(items()))


@pytest.mark.slow
def test_a_stage_that_cannot_be_opened_ends_the_job_with_its_own_words():
    config = Config(pipeline=Settings(restart_first=0.01))
    with (
        pytest.raises(WorkerFailed, match=r"decode\[\d\] cannot start: FileNotFoundError: the model yunet is not here"),
        Pipeline(config, WATCH, factory="toys:build_unopenable") as pipeline,
    ):
        list(pipeline.run([item(0)]))


@pytest.mark.slow
def test_a_factory_that_does_not_exist():
    config = Config(pipeline=Settings(restart_first=0.01))
    with (
        pytest.raises(WorkerFailed, match="ModuleNotFoundError: No module named 'nowhere'"),
        Pipeline(config, WATCH[:1], factory="nowhere:build") as pipeline,
    ):
        list(pipeline.run([item(0)]))


def test_what_was_not_announced_is_refused():
    with pytest.raises(ValueError, match="has 2 workers; the live sources and files need 3"):
        Pipeline(Config(), INDEX, live_sources=2)
    with pytest.raises(ValueError, match="nothing to run"):
        Pipeline(Config(), INDEX, has_files=False)
    with (
        pytest.raises(ValueError, match="no files were announced"),
        job(WATCH, live_sources=1, has_files=False) as pipeline,
    ):
        list(pipeline.run([item(1)]))
    with pytest.raises(ValueError, match="one live source more"), job(WATCH) as pipeline:
        list(pipeline.run([item(1, kind="camera")]))


@pytest.mark.slow
def test_no_secret_in_the_process_list():
    secret = item(0, kind="camera", every=0.01, password="hunter2")
    with job(WATCH, live_sources=1, has_files=False) as pipeline:
        for result in pipeline.run([secret], seconds=10):
            if isinstance(result, Sighting):
                break
        lines = [Path(f"/proc/{worker.pid}/cmdline").read_bytes() for worker in pipeline.metrics()]
    assert len(lines) == 3
    assert not any(b"hunter2" in line for line in lines)
    assert any(b"faces[0]" in line for line in lines), "but a reader of the list sees what runs"


@pytest.mark.slow
def test_no_secret_in_what_a_process_says(caplog):
    settings = Settings(restart_first=0.01)
    config = Config(pipeline=settings, sources=(Source(address="rtsp://me:hunter2@camera/x"),))
    with (
        caplog.at_level("INFO", logger="vultus.worker"),
        pytest.raises(WorkerFailed) as failure,
        Pipeline(config, WATCH, factory="toys:build_blabbing") as pipeline,
    ):
        list(pipeline.run([item(0)]))
    assert "cannot open rtsp://camera/x?user=***&pwd=***; 0 sources" in str(failure.value)
    assert "x" * 1990 in caplog.text
    assert "hun" not in caplog.text + str(failure.value)
