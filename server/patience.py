"""Work of a request that grows with the gallery, and ends when it has taken too long."""

from __future__ import annotations

import time
from collections.abc import Callable

from vultus.server.problems import Problem

LONGEST = 60.0
"""Seconds."""


def patiently(command: str) -> Callable[[int, int], None]:
    """What is told of the progress of a work, and ends it with a Problem (503) after a minute.

    `command` does the same without a limit of time.
    """
    until = time.monotonic() + LONGEST

    def progress(done: int, of: int) -> None:
        if time.monotonic() > until:
            raise Problem(
                503,
                "takes-too-long",
                f"This takes longer than {LONGEST:g} seconds here ({done} of {of} faces were done); "
                f"`{command}` on the server's machine has all the time.",
            )

    return progress
