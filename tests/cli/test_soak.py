"""Minutes of four cameras that hang up every 45 seconds: nothing grows. `make soak MINUTES=120` for more of them."""

from pathlib import Path

import pytest
from cli_process import Run

_MOST_MB = 12.0
"""By which a process may grow between the end of its first quarter and its end; allocators do not give everything back."""


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_memory_and_files_stay(vultus: Run, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    minutes = request.config.getoption("--minutes")
    answer = vultus(
        "bench", "pipeline", "--no-fast", "--size", "800x450", "--seconds", 20, "--cameras", 4, "--busy", 2,
        "--watch", minutes * 60, "--reconnect", 45, "--plot", tmp_path / "memory.html", "--json",
        timeout=minutes * 60 + 200,
    ).json  # fmt: skip
    run = answer["cameras"]
    assert run["lost_connections"] >= 4 * (minutes - 1)
    assert run["restarts"] == 0
    assert run["growth"], "no process was seen twice"
    assert max(run["growth"].values()) < _MOST_MB, run["growth"]
    samples = run["samples"]
    early, late = samples[len(samples) // 4 :][:60], samples[-60:]
    for process in late[-1]["files"]:
        before = max(sample["files"].get(process, 0) for sample in early)
        assert max(sample["files"].get(process, 0) for sample in late) <= before + 3, process
    assert (tmp_path / "memory.html").stat().st_size > 1000
