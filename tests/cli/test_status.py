"""What `vultus status` shows of a job, whose answer is made here."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from vultus.cli import status
from vultus.pipeline.health import CameraHealth, Health
from vultus.pipeline.metrics import Counters, SpareMetrics, WorkerMetrics


def process(worker: int, state: str, pid: int | None) -> WorkerMetrics:
    counters = Counters(busy=900.0, uptime=1000.0, resident=77_000_000)
    return WorkerMetrics(
        group="decode",
        worker=worker,
        stages=("decode",),
        state=state,  # type: ignore[arg-type]
        pid=pid,
        restarts=0,
        counters=counters,
        busy_share=0.0412,
        cores=0.03,
    )


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bytes]:
    """What the only job answers."""
    said: list[bytes] = []
    monkeypatch.setattr(status, "jobs", lambda: [tmp_path])
    monkeypatch.setattr(status, "ask", lambda _folder, _question: said[-1])
    return said


def test_it_shows_spares_and_what_processes_do_now(answer: list[bytes]) -> None:
    health = Health(
        pid=1,
        started=0.0,
        cameras=(CameraHealth(source="door", state="connected", since=0.0),),
        processes=(process(0, "running", 4711), process(1, "ended", None)),
        spares=(SpareMetrics(pid=4712, state="starting", resident=55_000_000),),
    )
    answer.append(msgspec.json.encode(health))
    shown = CliRunner().invoke(status.status)
    assert shown.exit_code == 0, "a spare that is not ready and a process whose cameras left are no trouble"
    rows = [line.split() for line in shown.output.splitlines()]
    assert ["decode[0]", "running", "4711", "0", "4%", "0.03", "77", "MB"] in rows
    assert ["spare", "starting", "4712", "55", "MB"] in rows
    assert "decode[1]" not in shown.output
    told = msgspec.json.decode(CliRunner().invoke(status.status, ["--json"]).output)["jobs"][0]
    assert told["spares"] == [{"pid": 4712, "state": "starting", "resident": 55_000_000}]
    assert told["processes"][0]["busy_share"] == 0.0412


def test_a_job_of_another_version_is_said(answer: list[bytes]) -> None:
    answer.append(b'{"pid": "one"}')
    shown = CliRunner().invoke(status.status)
    assert shown.exit_code == 1
    assert "another version" in shown.output
