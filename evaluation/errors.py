"""What can be wrong with the files of a protocol."""

from __future__ import annotations


class BadList(ValueError):
    """A list of pairs, a set or a ground truth is damaged, or is none. The message names the file and the line, if any."""


class WorkUnusable(OSError):
    """The file that keeps what was computed cannot be used; without it everything is computed again."""

    __str__ = Exception.__str__
