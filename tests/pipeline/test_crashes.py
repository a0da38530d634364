"""Processes that die, hang or are killed while a job runs."""

import os
import re
import signal
from collections import Counter

import pytest
from test_pipeline import INDEX, WATCH, item, job

from vultus.configs.schema import Config, Group
from vultus.configs.schema import Pipeline as Settings
from vultus.pipeline import fleet
from vultus.pipeline.messages import ItemDone, Sighting, WorkerState

QUICK = Config(pipeline=Settings(heartbeat=0.2, restart_first=0.05))
FILES = (
    Group(name="decode", stages=("decode",), workers=2, queue=4),
    Group(name="faces", stages=("detect", "track", "align"), max_batch=4),
    Group(name="people", stages=("embed", "store"), max_batch=16),
)
FULL = pytest.mark.slow


def pid_of(pipeline, group, number=0):
    return next(worker.pid for worker in pipeline.metrics() if (worker.group, worker.worker) == (group, number))


def run(pipeline, items, after, act):
    """Answers and process states of a job in which `act` happens when `after` answers have come."""
    answers, states = [], []
    for result in pipeline.run(items):
        (answers if isinstance(result, ItemDone) else states).append(result)
        if len(answers) == after and isinstance(result, ItemDone):
            act()
    return answers, states


@pytest.mark.parametrize(
    ("groups", "group", "number"),
    [
        (FILES, "decode", signal.SIGKILL),
        pytest.param(FILES, "people", signal.SIGKILL, marks=FULL),
        pytest.param(FILES, "faces", signal.SIGSTOP, marks=FULL),
        *(
            pytest.param(INDEX, group, number, marks=FULL)
            for group in ("decode", "detect", "faces", "people")
            for number in (signal.SIGKILL, signal.SIGSTOP)
        ),
    ],
)
def test_a_process_is_killed_or_stopped_and_every_item_is_done_once(groups, group, number):
    items = (item(n, kind="photo" if n % 3 else "video", frames=1 + n % 3, label="slow=0.005") for n in range(40))
    with job(groups, QUICK) as pipeline:
        answers, states = run(pipeline, items, 15, lambda: os.kill(pid_of(pipeline, group), number))
    assert sorted(answer.item for answer in answers) == list(range(40))
    assert all(answer.status == "done" and answer.faces == 1 + answer.item % 3 for answer in answers)
    # Where there is another worker, it may have done the rest before this one was back.
    assert [(state.group, state.state) for state in states] in (
        [(group, "died"), (group, "restarted")],
        [(group, "died")],
    )
    why = "killed by SIGKILL" if number == signal.SIGKILL else r"no sign of life|was stopped \(SIGSTOP\)"
    assert re.search(why, states[0].reason)
    assert sum(worker.restarts for worker in pipeline.metrics()) == 1


@pytest.mark.slow
def test_a_process_hangs_in_one_call_and_says_where(tmp_path, caplog):
    config = Config(pipeline=Settings(heartbeat=0.1, hang_after=0.8, restart_first=0.05))
    items = [item(n, label=f"hang1=detect:{tmp_path / 'hung'}" if n == 5 else None) for n in range(12)]
    with caplog.at_level("INFO", "vultus.worker"), job(FILES, config) as pipeline:
        answers, states = run(pipeline, items, -1, lambda: None)
    assert sorted(answer.item for answer in answers) == list(range(12))
    assert {answer.status for answer in answers} == {"done"}
    assert "was inside one call for" in states[0].reason
    assert "toys.py" in caplog.text, "the log shows the line that hung"


@pytest.mark.slow
def test_a_process_that_takes_too_long_to_start_is_killed_and_the_log_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("TOYS_FRAME", str(tmp_path / "slow"))
    monkeypatch.setattr(fleet, "START_WITHIN", 6.0)
    config = Config(pipeline=Settings(heartbeat=0.1, hang_after=2.0, restart_first=0.05))
    with job((Group(name="all", stages=("decode", "store")),), config, factory="toys:build_slow") as pipeline:
        answers, states = run(pipeline, [item(0, frames=0)], -1, lambda: None)
    assert [answer.status for answer in answers] == ["done"]
    assert re.fullmatch(r"had not opened its stages \d+\.\d s after its start", states[0].reason)
    assert f"process all[0] {states[0].reason} and is killed" in caplog.text


@FULL
@pytest.mark.parametrize("stage", ["decode", "detect", "embed"])
def test_a_poisonous_item_is_refused_and_the_refusal_stored(stage):
    group = {"decode": "decode", "detect": "faces", "embed": "people"}[stage]
    items = [item(n, frames=2, label=f"die={stage}" if n == 4 else None) for n in range(12)]
    with job(FILES, QUICK) as pipeline:
        answers, states = run(pipeline, items, -1, lambda: None)
    assert sorted(answer.item for answer in answers) == list(range(12))
    refused = [answer for answer in answers if answer.status != "done"]
    assert [(answer.item, answer.reason) for answer in refused] == [(4, f"ended the process {group!r} 3 times")]
    assert [state.state for state in states].count("died") == 3
    store = next(worker for worker in pipeline.metrics() if worker.group == "people")
    assert store.counters.counts.get("refused") == 1, "it went through `store`"


@FULL
def test_a_refusal_that_kills_too_is_told_to_the_caller():
    with job(FILES, QUICK) as pipeline:
        answers, states = run(pipeline, [item(0, label="die=always"), item(1)], -1, lambda: None)
    assert {(answer.item, answer.status) for answer in answers} == {(0, "refused"), (1, "done")}
    assert [state.state for state in states].count("died") == 6


@pytest.mark.slow
@pytest.mark.parametrize("group", ["decode", "faces", pytest.param("people", marks=FULL)])
def test_a_camera_goes_on_after_any_process_died(group):
    seen, states, last = 0, [], -1
    with job(WATCH, QUICK, live_sources=2, has_files=False) as pipeline:
        for result in pipeline.run([item(n, kind="camera", every=0.01) for n in (0, 1)], seconds=30):
            if isinstance(result, Sighting):
                seen += 1
                if seen == 20:
                    os.kill(pid_of(pipeline, group), signal.SIGKILL)
                if len(states) == 2:
                    last = seen if last < 0 else last
                    if seen >= last + 40:
                        break
            elif isinstance(result, WorkerState):
                states.append((result.group, result.state))
    assert states == [(group, "died"), (group, "restarted")]


@pytest.mark.slow
def test_what_a_stage_raises_is_the_reason():
    with job(FILES, QUICK) as pipeline:
        answers, states = run(pipeline, [item(0, frames="many"), item(1)], -1, lambda: None)
    assert states[0].reason == "ValueError: invalid literal for int() with base 10: 'many'"
    assert Counter(answer.status for answer in answers) == {"done": 1, "refused": 1}
