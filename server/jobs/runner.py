"""Does the jobs, one after the other, in a thread of its own; the next server goes on with what one was doing when it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from vultus.configs.address import redact_text
from vultus.server.jobs.record import MOST_REFUSALS, OVER, Job, Kind, Records
from vultus.server.jobs.tasks import Means, Task, backups, task
from vultus.server.problems import Problem

_log = logging.getLogger("vultus.server")
_EVERY = 0.5
"""Seconds between two writings of how far a job is."""
_LOOK = 30.0
"""Seconds between two looks at the backup schedule."""


class _Report:
    """Collects what a task tells, and writes it down now and then. Belongs to the job's thread."""

    def __init__(self, records: Records, job: Job) -> None:
        self._records, self._job = records, job
        self._total: int | None = None
        self._seen, self._note = 0, ""
        self._counts: dict[str, int] = {}
        self._waiting: list[tuple[str, str]] = []
        self._room = MOST_REFUSALS
        self._written = 0.0

    def refused(self, source: str, reason: str) -> None:
        if self._room > 0:
            self._room -= 1
            self._waiting.append((redact_text(source), redact_text(reason)))

    def advanced(self, seen: int, counts: dict[str, int], note: str) -> None:
        self._seen, self._counts, self._note = seen, counts, note
        if time.monotonic() - self._written >= _EVERY:
            self.write()

    def total(self, total: int | None) -> None:
        self._total = total
        self.write()

    def write(self) -> None:
        """Put it into the table."""
        self._records.progress(self._job.id, self._total, self._seen, self._counts, self._note, self._waiting)
        self._waiting.clear()
        self._written = time.monotonic()


class Jobs:
    """The queue and its thread; a context manager. Methods may be called from any thread."""

    def __init__(self, means: Means, changed: Callable[[Job], None]) -> None:
        """`changed` is told of every job that comes into another state, in whatever thread that happens."""
        self._means, self._tell = means, changed
        self.records = Records(means.store)
        self._thread = threading.Thread(target=self._work, name="jobs")
        self._changed = threading.Condition()
        self._closing = False
        self._doing: tuple[int, Task] | None = None

    def __enter__(self) -> Jobs:
        self.records.interrupted()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """What runs is stopped, and is gone on with at the next start."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            doing = self._doing
        if doing is not None:
            doing[1].stop()
        self._thread.join()

    def add(self, kind: Kind, title: str, by: str, options: dict[str, Any] | None = None) -> Job:
        """Put a job into the queue."""
        job = self.records.add(kind, title, by, options or {})
        self._tell(job)
        self._wake()
        return job

    def cancel(self, number: int) -> Job:
        """Take a job out of the queue, or stop it. Raises Problem 404, and 409 if it is over."""
        if not self.records.move(number, ("queued",), "cancelled"):
            if not self.records.move(number, ("running", "stopping"), "stopping"):
                raise Problem(409, "job-is-over", f"Job {number} is {self.records.get(number).state}.")
            with self._changed:
                doing = self._doing
            if doing is not None and doing[0] == number:
                doing[1].stop()
        return self._told(number)

    def resume(self, number: int) -> Job:
        """Put a job that failed or was cancelled into the queue again. Raises Problem 404, and 409 for any other."""
        if not self.records.move(number, ("failed", "cancelled"), "queued"):
            raise Problem(409, "job-not-over", f"Job {number} is {self.records.get(number).state}.")
        self._wake()
        return self._told(number)

    def _told(self, number: int) -> Job:
        job = self.records.get(number)
        self._tell(job)
        return job

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        while not self._closing:
            self._schedule()
            job = self.records.next()
            if job is None:
                with self._changed:
                    if not self._closing:
                        self._changed.wait(_LOOK)
                continue
            self._do(job)

    def _do(self, job: Job) -> None:
        report = _Report(self.records, job)
        self.records.begin(job.id)
        self._tell(job)
        try:
            doing = task(self._means, job)
            with self._changed:
                self._doing = job.id, doing
            if self._closing or self.records.get(job.id).state == "stopping":
                doing.stop()
            with self._means.gallery.audit.acting(job.by):
                stopped = doing.run(report)
            report.write()
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the job's answer, and the server goes on
            _log.warning("job %d (%s) failed", job.id, job.kind, exc_info=error)
            self.records.move(job.id, ("running", "stopping"), "failed", error=redact_text(str(error) or repr(error)))
        else:
            asked = self.records.get(job.id).state == "stopping"
            self.records.move(
                job.id, ("running", "stopping"), "cancelled" if asked else "queued" if stopped else "done"
            )
        finally:
            with self._changed:
                self._doing = None
            self._told(job.id)

    def _schedule(self) -> None:
        """A backup, if the newest is older than the configuration wants and none is on its way."""
        every = self._means.config.serve.backup.every_hours
        if every is None:
            return
        last = self.records.last_of("backup")
        if last is not None and (last.state not in OVER or time.time() - last.created < every * 3600):
            return
        newest = backups(self._means.config)[:1]
        if not newest or time.time() - newest[0].made >= every * 3600:
            self.add("backup", "scheduled backup", "schedule")
