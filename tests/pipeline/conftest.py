import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:  # worker processes find `toys` where this process does
    sys.path.insert(0, HERE)


@pytest.fixture(autouse=True)
def no_trace_left():
    """No test leaves a name in /dev/shm."""
    before = set(Path("/dev/shm").iterdir())
    yield
    assert set(Path("/dev/shm").iterdir()) <= before
