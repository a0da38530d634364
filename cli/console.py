"""Output: results go to standard output, everything said on the way to standard error."""

from __future__ import annotations

import sys
import unicodedata
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
out = Console(emoji=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)
err = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)

# Cells of so many letters stand on one line even on a narrow terminal; the long ones give way.
_UNFOLDED = 14

_JSON = msgspec.json.Encoder(decimal_format="number")

# Letters after these stand in another order than in memory: a file name could pretend to be another one.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def print_json(value: object) -> None:
    """One JSON value on one line, at once (a reader at the other end of a pipe waits for it)."""
    # Bytes, since JSON is UTF-8 whatever the locale says.
    sys.stdout.flush()
    sys.stdout.buffer.write(_JSON.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def shown(text: str) -> str:
    """`text` with everything spelled out that would move the cursor: `\\n`, `\\x1b`, bytes that are no UTF-8.

    Names of files come from anywhere; one with a line break must not look like two, nor one with an escape sequence
    reach the terminal.
    """
    if text.isprintable():
        return text
    return "".join(_spelled(character) for character in text)


def _spelled(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI:
        return character.encode("unicode_escape").decode()
    return character


def say(text: str, style: str | None = None) -> None:
    """A line for the person at the terminal; file names and the like in it are not markup."""
    err.print(escape(shown(text)), style=style)


def line(text: str, style: str | None = None) -> None:
    """A line of the answer, on standard output."""
    out.print(shown(text), style=style, markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; columns named with a leading `>` are aligned right."""
    if title:
        line(title, "italic")  # a title inside the table would be folded to the table's width
    grid = Table(show_header=any(columns), header_style="bold", pad_edge=False, box=None)
    cells = [["" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    for number, column in enumerate(columns):
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        widest = max((len(row[number]) for row in cells), default=0)
        grid.add_column(column.lstrip(">"), justify=justify, overflow="fold", min_width=min(widest, _UNFOLDED))
    for row in cells:
        grid.add_row(*map(escape, row))
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


def counted(count: object, what: str) -> str:
    """`1 face`, `2 faces`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def utc(seconds: float) -> str:
    """ISO 8601 with milliseconds and `Z`, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(position: float) -> str:
    """`1:02:03.4` of seconds from the start of a file."""
    minutes, seconds = divmod(position, 60.0)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{seconds:04.1f}" if hours else f"{minutes:d}:{seconds:04.1f}"
