"""What `index` and `watch` share: a pipeline that Ctrl-C stops in order, and the naming of what went wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from vultus.cli.console import say
from vultus.configs.schema import Group
from vultus.pipeline.messages import SourceState, WorkerState


class Stoppable(Protocol):
    """What can be asked to end."""

    def stop(self) -> None:
        """End soon; called in a signal handler."""


@contextmanager
def stopped_by_signals(job: Stoppable) -> Iterator[list[int]]:
    """While inside, the first Ctrl-C or SIGTERM asks the job to end; yields the signals that came."""
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        job.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell_hosts(groups: Iterable[Group]) -> None:
    """Which groups of a job wait for other machines."""
    for group in groups:
        if group.hosts:
            say(
                f"The group {group.name} is the work of {', '.join(group.hosts)}, expected at {group.listen}: "
                "`vultus worker --config FILE` there."
            )


def tell(state: SourceState | WorkerState) -> None:
    """A camera that came or went, or a process that died, as a line for the person at the terminal."""
    if isinstance(state, WorkerState) and state.state in ("joined", "left"):
        why = f": {state.reason}" if state.reason else ""
        style = "green" if state.state == "joined" else "yellow"
        say(f"{state.host} {state.state} the group {state.group}{why}", style=style)
    elif isinstance(state, WorkerState):
        what = "died and is started again" if state.state == "died" else "runs again"
        say(
            f"process {state.group}[{state.worker}] {what}{': ' + state.reason if state.reason else ''}", style="yellow"
        )
    elif state.state == "connected":
        say(f"{state.source}: connected{f', {state.decoder}' if state.decoder else ''}", style="green")
    elif state.state == "lost":
        pause = f"; next try in {state.retry_in:.0f} s" if state.retry_in is not None else ""
        say(f"{state.source}: lost ({state.reason}){pause}", style="yellow")
    else:
        say(f"{state.source}: ended{' (' + state.reason + ')' if state.reason else ''}")
