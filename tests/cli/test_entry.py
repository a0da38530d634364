"""The first and the last moment of a command: Ctrl-C before anything was imported, and afterwards; SIGTERM."""

import signal
import subprocess
import sys

import pytest

IMPORTING = "import vultus.cli.entry, signal; signal.raise_signal(signal.SIGINT)"
RUNNING = """
import signal, sys
import vultus.cli.entry, vultus.cli.main
vultus.cli.main.cli.main = lambda **_: signal.raise_signal(signal.SIGINT)
sys.exit(vultus.cli.entry.main())
"""
TERMINATED = RUNNING.replace("SIGINT", "SIGTERM")
IGNORED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + RUNNING


def _as_in_the_foreground() -> None:
    """Tests that a shell runs in the background inherit an ignored Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (IMPORTING, -signal.SIGINT, ""),
        (RUNNING, 130, "stopped"),
        (TERMINATED, 130, "stopped"),
        (IGNORED, 0, ""),
    ],
)
def test_ctrl_c(script: str, code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, preexec_fn=_as_in_the_foreground
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert words in done.stderr
