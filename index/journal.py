"""The journal of changes: what makes every other copy of the gallery (index in memory, snapshot) follow the truth.

Each transaction that changes which faces exist or whose they are adds rows to `changes`, in the same transaction.
Sequence numbers rise by commit. `mark` is random: a copy that knows the pair (seq, mark) of the last row it saw can
tell a database that went on from one that was put back to an older state and then went another way.

kind      first, last                            meaning
created   0, 0                                   first row of a gallery
added     first and last new face                face numbers are given in ascending order and never again
removed   first and last face                    every face in this range is gone
dropped   person, person                         the person is gone with all faces
merged    former person, person now              all faces of the former belong to the latter, the former is gone
renamed   person, person                         has another name, or the first one, or none any more
moved     first and last face                    faces in this range have other owners now, which the database tells
hidden    person, person                         is hidden from searches, or no longer
denied    person, person                         a negative example of the person came or went
calibrated  0, 0                                 the calibration is another one, or gone
migrated  0, 0                                   all vectors are of another model: nothing made before can follow
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from vultus.index.storage import Connection, Writer

_GAP = 64
"""Owners of so many faces in between are read for nothing rather than that the journal has another row."""

Kind = Literal[
    "created", "added", "removed", "dropped", "merged", "renamed", "moved", "hidden", "denied", "calibrated", "migrated"
]


class Point(Struct, frozen=True):
    """A place in the history of a gallery."""

    seq: int
    mark: int


class Change(Struct, frozen=True):
    """A row of the journal."""

    point: Point
    kind: Kind
    first: int
    last: int


def append(connection: Connection, writer: Writer, kind: Kind, first: int, last: int, faces: int) -> int:
    """Add a row about `faces` faces, inside the caller's transaction; return its mark."""
    mark = secrets.randbits(63)
    connection.execute(
        "INSERT INTO changes (mark, kind, first, last, faces, at, writer, actor, via) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (mark, kind, first, last, faces, time.time(), writer.program, writer.actor, writer.via),
    )
    return mark


def append_removed(connection: Connection, writer: Writer, faces: Iterable[int]) -> None:
    """Add `removed` rows for the given faces, inside the caller's transaction."""
    for first, last, count in runs(sorted(faces)):
        append(connection, writer, "removed", first, last, count)


def append_moved(connection: Connection, writer: Writer, faces: Iterable[int]) -> None:
    """Add `moved` rows for the given faces, inside the caller's transaction; small gaps are bridged."""
    for first, last, count in runs(sorted(faces), _GAP):
        append(connection, writer, "moved", first, last, count)


def newest(connection: Connection) -> Point:
    """Return the place that the database is at."""
    return Point(*connection.execute("SELECT seq, mark FROM changes ORDER BY seq DESC LIMIT 1").fetchone())


def since(connection: Connection, point: Point) -> list[Change] | None:
    """Return the changes after `point` in order, or none if `point` is not in the history of these vectors."""
    rows = connection.execute(
        "SELECT seq, mark, kind, first, last FROM changes WHERE seq >= ? ORDER BY seq", (point.seq,)
    ).fetchall()
    if not rows or rows[0][:2] != (point.seq, point.mark):
        return None
    changes = [Change(Point(seq, mark), kind, first, last) for seq, mark, kind, first, last in rows[1:]]
    return None if any(change.kind == "migrated" for change in changes) else changes


def faces_since(connection: Connection, seq: int) -> tuple[int, int]:
    """Return how many faces changed after `seq`, and how many of them were deleted."""
    changed, gone = connection.execute(
        "SELECT coalesce(sum(faces), 0), coalesce(sum(faces) FILTER (WHERE kind IN ('removed', 'dropped')), 0) "
        "FROM changes WHERE seq > ?",
        (seq,),
    ).fetchone()
    return changed, gone


def prune(connection: Connection, before: float) -> int:
    """Delete the rows of before that time, seconds since the epoch, but for the newest; return how many.

    An index that stands at one of them is read anew from the vectors, as after a backup was restored.
    """
    return connection.execute(
        "DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes) "
        "AND seq < (SELECT coalesce(min(seq) FILTER (WHERE at >= ?), max(seq)) FROM changes)",
        (before,),
    ).rowcount


def runs(numbers: Iterable[int], gap: int = 1) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last, how many) of each run of ascending numbers whose neighbours are at most `gap` apart."""
    first = last = None
    count = 0
    for number in numbers:
        if first is None or last is None:
            first, count = number, 0
        elif number > last + gap:
            yield first, last, count
            first, count = number, 0
        last = number
        count += 1
    if first is not None and last is not None:
        yield first, last, count
