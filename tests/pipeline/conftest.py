import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:  # worker processes find `toys` where this process does
    sys.path.insert(0, HERE)


@pytest.fixture(autouse=True)
def no_trace_left():
    """No test leaves a name in /dev/shm."""
    before = _shared()
    yield
    assert _shared() <= before


def _shared() -> set[Path]:
    """What lies there, but for what a database of another test, or of another program, puts there meanwhile."""
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("PostgreSQL.")}
