"""Jobs as rows of the server's file: what is to be done, how far it is, and what it refused."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from vultus.server.problems import Problem
from vultus.server.store import Store

Kind = Literal["index", "backup", "verify", "compact"]
State = Literal["queued", "running", "stopping", "done", "failed", "cancelled"]
OVER: tuple[State, ...] = ("done", "failed", "cancelled")
MOST_REFUSALS = 10_000
"""Of one job; the gallery itself remembers every refused file."""
_KEPT = 1000
"""Jobs that are over and older than so many others are forgotten."""
_COLUMNS = "id, kind, title, state, by, created, started, ended, total, seen, counts, note, error, options"


class Job(Struct, frozen=True, kw_only=True):
    """A job. Times are seconds since the epoch."""

    id: int
    kind: Kind
    title: str
    state: State
    by: str
    """Who asked for it."""
    created: float
    started: float | None
    ended: float | None
    total: int | None
    """How many things there are to do; none while that is not known."""
    seen: int
    counts: dict[str, int]
    note: str
    """What it does now, or what came of it, in words."""
    error: str | None
    options: dict[str, Any]


class Records:
    """The table of jobs. From any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, kind: Kind, title: str, by: str, options: dict[str, Any]) -> Job:
        """One more, at the end of the queue."""
        with self._store.write() as connection:
            (number,) = connection.execute(
                "INSERT INTO jobs (kind, title, state, by, created, options) VALUES (?, ?, 'queued', ?, ?, ?) RETURNING id",
                (kind, title, by, time.time(), msgspec.json.encode(options).decode()),
            ).fetchone()
            connection.execute(
                "DELETE FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND id <= ?", (number - _KEPT,)
            )
        return self.get(number)

    def get(self, number: int) -> Job:
        """A job by number. Raises Problem 404."""
        with self._store.read() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (number,)).fetchone()  # noqa: S608
        if row is None:
            raise Problem(404, "unknown-job", f"There is no job {number}.")
        return _job(row)

    def listed(self, before: int | None, limit: int) -> list[Job]:
        """The newest first, from below the number `before` on."""
        with self._store.read() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2",  # noqa: S608
                (before, limit),
            ).fetchall()
        return [_job(row) for row in rows]

    def next(self) -> Job | None:
        """The one that waits longest; it is running from now on."""
        with self._store.write() as connection:
            row = connection.execute(
                "UPDATE jobs SET state = 'running', started = ?, ended = NULL, error = NULL, note = '' "  # noqa: S608
                f"WHERE id = (SELECT min(id) FROM jobs WHERE state = 'queued') RETURNING {_COLUMNS}",
                (time.time(),),
            ).fetchone()
        return None if row is None else _job(row)

    def last_of(self, kind: Kind) -> Job | None:
        """The newest of a kind, in whatever state."""
        with self._store.read() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE kind = ? ORDER BY id DESC LIMIT 1",  # noqa: S608
                (kind,),
            ).fetchone()
        return None if row is None else _job(row)

    def move(self, number: int, after: Sequence[State], to: State, *, error: str | None = None) -> bool:
        """Put a job that is in one of these states into another; whether it was."""
        assert set(after) <= set(get_args(State))
        marks = ", ".join("?" * len(after))
        with self._store.write() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET state = ?, error = ?, ended = ? WHERE id = ? AND state IN ({marks})",  # noqa: S608
                (to, error, time.time() if to in OVER else None, number, *after),
            ).rowcount
        return changed > 0

    def progress(
        self,
        number: int,
        total: int | None,
        seen: int,
        counts: dict[str, int],
        note: str,
        refusals: Sequence[tuple[str, str]],
    ) -> None:
        """How far it is, and what it refused since the last time."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE jobs SET total = ?, seen = ?, counts = ?, note = ? WHERE id = ?",
                (total, seen, msgspec.json.encode(counts).decode(), note, number),
            )
            connection.executemany(
                "INSERT INTO job_refusals (job, source, reason) VALUES (?, ?, ?)",
                ((number, source, reason) for source, reason in refusals),
            )

    def begin(self, number: int) -> None:
        """Forget the refusals of an earlier attempt; this one names them again."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM job_refusals WHERE job = ?", (number,))

    def refusals(self, number: int, after: int, limit: int) -> list[tuple[int, str, str]]:
        """Number, source and reason of what a job refused, in order, from beyond the number `after` on."""
        with self._store.read() as connection:
            return connection.execute(
                "SELECT id, source, reason FROM job_refusals WHERE job = ? AND id > ? ORDER BY id LIMIT ?",
                (number, after, limit),
            ).fetchall()

    def interrupted(self) -> None:
        """Put what was running when the server ended back into the queue; what was to be stopped is."""
        with self._store.write() as connection:
            connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")
            connection.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE state = 'stopping'", (time.time(),)
            )


def _job(row: tuple[Any, ...]) -> Job:
    *known, counts, note, error, options = row
    names = _COLUMNS.split(", ")
    return Job(
        **dict(zip(names, known, strict=False)),
        counts=msgspec.json.decode(counts),
        note=note,
        error=error,
        options=msgspec.json.decode(options),
    )
