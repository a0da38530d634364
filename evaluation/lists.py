"""Lists that people write: lines of text, bounded."""

from __future__ import annotations

from pathlib import Path

from vultus.evaluation.errors import BadList

_MOST_BYTES = 64_000_000


def lines_of(path: Path, what: str, otherwise: str = "") -> list[str]:
    """The lines of `path`, a list of `what`. Raises BadList (a ValueError); of a binary file it says `otherwise` too."""
    if path.stat().st_size > _MOST_BYTES:
        raise BadList(f"{path}: more than {_MOST_BYTES // 1_000_000} MB is no list of {what}")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadList(f"{path}: not a list of {what} but something binary{otherwise}") from error
