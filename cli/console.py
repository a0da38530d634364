"""Output: results go to standard output, everything said on the way to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

# Into a file or a pipe nothing is folded: a program that cuts columns out needs whole lines.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_JSON = msgspec.json.Encoder(decimal_format="number")


def print_json(value: object) -> None:
    """One JSON value on one line, at once (a reader at the other end of a pipe waits for it)."""
    sys.stdout.write(_JSON.encode(value).decode() + "\n")
    sys.stdout.flush()


def say(text: str, style: str | None = None) -> None:
    """A line for the person at the terminal; file names and the like in it are not markup."""
    err.print(escape(text), style=style)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; columns named with a leading `>` are aligned right."""
    grid = Table(title=title or None, title_justify="left", header_style="bold", pad_edge=False, box=None)
    for number, column in enumerate(columns):
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        grid.add_column(column.lstrip(">"), justify=justify, overflow="fold", no_wrap=number == 0)
    for row in rows:
        grid.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    out.print(grid, soft_wrap=False)


def progress(*, visible: bool = True) -> Progress:
    """A progress bar on standard error; silent where that is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        disable=not (visible and err.is_terminal),
        transient=True,
    )


def utc(seconds: float) -> str:
    """ISO 8601 with milliseconds and `Z`, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(position: float) -> str:
    """`1:02:03.4` of seconds from the start of a file."""
    minutes, seconds = divmod(position, 60.0)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{seconds:04.1f}" if hours else f"{minutes:d}:{seconds:04.1f}"
