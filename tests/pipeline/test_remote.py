"""Stages on another host, here over loopback: the same answers, whatever becomes of the worker, and nobody else gets in."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts import Machines
from test_pipeline import dropped, item, job

from vultus.configs.schema import Group
from vultus.pipeline import hosted, keys
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.messages import Item, ItemDone, Sighting, WorkerState
from vultus.pipeline.metrics import RemoteWorker
from vultus.pipeline.process import WorkerProcess
from vultus.pipeline.supervisor import Pipeline

FACES = Group(name="faces", stages=("decode", "detect", "track", "align"), workers=2, queue=8)
STORE = Group(name="store", stages=("store",))


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def run(machines: Machines, group: Group, items: Iterable[Item], act: Callable[[Pipeline, int], None] | None = None):
    """Answers and process states of a job; `act` is called after each answer with how many there are."""
    answers: list[ItemDone] = []
    states: list[WorkerState] = []
    with job((FACES, group, STORE), machines.config) as pipeline:
        for result in pipeline.run(items):
            (answers if isinstance(result, ItemDone) else states).append(result)
            if act is not None and isinstance(result, ItemDone):
                act(pipeline, len(answers))
        gate = next(one for one in pipeline.metrics() if one.group == "embed")
        assert dropped(pipeline).keys() <= {"obsolete"}
    return answers, states, gate


def items(count: int, slow: str = "") -> Iterator[Item]:
    return (item(n, kind="photo" if n % 4 else "video", frames=n % 7, label=slow) for n in range(count))


def remotes(pipeline: Pipeline) -> list[RemoteWorker]:
    return [remote for one in pipeline.metrics() for remote in one.counters.remotes if remote.state == "working"]


def test_a_stage_on_another_host_loses_and_doubles_nothing(machines: Machines) -> None:
    group = machines.group("embed", max_batch=4)
    with machines.working(group) as said:
        answers, states, gate = run(machines, group, items(60))
    assert sorted(answer.item for answer in answers) == list(range(60))
    assert all((answer.status, answer.attempt, answer.faces) == ("done", 0, answer.item % 7) for answer in answers)
    assert [(state.state, state.host) for state in states] == [("joined", "attic")]
    assert gate.counters.counts == {}, said


@pytest.mark.slow
def test_a_worker_that_cannot_be_started_again_at_once_is_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines, started, hurt = Machines(tmp_path, restart_max=0.1), 0, False

    def start(*arguments: Any, **options: Any) -> WorkerProcess:
        nonlocal started
        started += 1
        if started in (2, 3):
            raise WorkerFailed("cannot start a process: no memory")
        return WorkerProcess(*arguments, **options)

    monkeypatch.setattr(hosted, "WorkerProcess", start)

    def act(pipeline: Pipeline, answers: int) -> None:
        nonlocal hurt
        if not hurt and (there := remotes(pipeline)):
            hurt = True
            os.kill(there[0].pid, signal.SIGKILL)

    group = machines.group("embed", max_batch=4)
    with machines.working(group) as said:
        answers, _, _ = run(machines, group, items(200, "slow=0.02"), act)
    assert hurt
    assert len(answers) == 200
    assert started == 4
    assert sum("no memory" in text for text in said) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_gone_leaves_its_work_to_another(machines: Machines, number: int) -> None:
    group = machines.group("embed", max_batch=4, workers=2)
    hurt: list[int] = []

    def act(pipeline: Pipeline, answers: int) -> None:
        if answers >= 20 and not hurt and (there := remotes(pipeline)):
            hurt.append(there[0].pid)
            os.kill(hurt[0], number)

    with machines.working(group) as said:
        answers, states, gate = run(machines, group, items(400, "slow=0.003"), act)
    assert hurt
    assert any("was stopped" in text for text in said) == (number == signal.SIGSTOP)
    assert sorted(answer.item for answer in answers) == list(range(400))
    assert {(answer.status, answer.attempt) for answer in answers} == {("done", 0)}, "nobody else noticed"
    assert gate.restarts == 0
    assert "left" in [state.state for state in states]


@pytest.mark.slow
def test_a_worker_with_another_model_does_nothing_and_the_right_one_all(machines: Machines) -> None:
    group = machines.group("embed")
    with machines.working(group, factory="toys_other:build") as wrong, machines.working(group) as right:
        answers, states, gate = run(machines, group, items(10, "slow=0.1"))
    assert len(answers) == 10
    assert "they must be the same" in " ".join(state.reason for state in states if state.state == "left")
    assert any("its embedder is another-0123456789ab" in line for line in wrong)
    assert any("works for" in line for line in right)
    assert gate.counters.counts["network_other_model"] >= 1


@pytest.mark.slow
def test_keys_that_are_not_permitted_and_a_main_machine_that_is_another(machines: Machines, tmp_path: Path) -> None:
    stranger = keys.create(tmp_path / "stranger.key")
    group = machines.group("embed")
    with (
        machines.working(group, tmp_path / "stranger.key") as denied,
        machines.working(group, main_key=stranger.public) as misled,
        machines.working(group),
    ):
        answers, states, gate = run(machines, group, items(10, "slow=0.1"))
    assert len(answers) == 10
    assert {state.state for state in states} == {"joined"}
    assert any("it does not permit this machine's key" in line for line in denied), denied
    assert not any("works for" in line for line in misled + denied)
    assert gate.counters.counts["network_denied"] >= 2


@pytest.mark.slow
def test_a_message_that_no_host_survives_is_refused_and_the_rest_done(machines: Machines) -> None:
    group = machines.group("embed", workers=2)
    listed = [item(n, label="die=embed" if n == 7 else None) for n in range(20)]
    with machines.working(group):
        answers, _, _ = run(machines, group, listed)
    assert {answer.item: answer.status for answer in answers} == {n: "refused" if n == 7 else "done" for n in range(20)}


@pytest.mark.slow
def test_a_camera_goes_on_when_its_worker_is_gone(machines: Machines) -> None:
    """The frames that the worker had go to the next one or are too old; those after it are analysed."""
    group = machines.group("detect", max_batch=2)
    groups = (
        Group(name="decode", stages=("decode",), workers="per-source", queue=2),
        group,
        Group(name="people", stages=("track", "align", "embed", "match")),
    )
    seen: list[int] = []
    before = 0
    with machines.working(group), job(groups, machines.config, live_sources=1, has_files=False) as pipeline:
        for result in pipeline.run([item(0, kind="camera", every=0.01)], seconds=30):
            if isinstance(result, Sighting):
                seen.append(result.track)
                if not before and (there := remotes(pipeline)):
                    before = len(seen)
                    os.kill(there[0].pid, signal.SIGKILL)
                elif before and len(seen) == before + 40:
                    pipeline.stop()
    assert before
    assert seen == sorted(set(seen))
    assert len(seen) >= before + 40
