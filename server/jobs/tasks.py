"""The kinds of jobs: what each does while it runs."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from vultus.configs.loader import backup_folder
from vultus.configs.schema import Config, Source
from vultus.index.gallery import Gallery
from vultus.jobs.indexing import Indexing, Listener
from vultus.server.jobs.record import Job, Kind
from vultus.server.store import Store

BACKUP = "gallery-"
OWN_BACKUP = "server-"


class Report(Protocol):
    """Where a task tells how far it is; each call is cheap."""

    def refused(self, source: str, reason: str) -> None:
        """Something was refused."""

    def advanced(self, seen: int, counts: dict[str, int], note: str) -> None:
        """How far it is."""

    def total(self, total: int | None) -> None:
        """How many things there are; none while that is not known."""


class Task(Protocol):
    """One run of a job, in a thread of its own."""

    def run(self, report: Report) -> bool:
        """Do it; returns whether it was stopped before the end. An exception is a failure, and its text the reason."""

    def stop(self) -> None:
        """End soon, if it can; from any thread."""


class Means(Struct, frozen=True, kw_only=True):
    """What tasks work with."""

    config: Config
    gallery: Gallery
    store: Store


class IndexOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the kind `index`."""

    paths: tuple[str, ...]
    label_from_folder: bool = False
    collection: str | None = None
    retry_refused: bool = False


class _Index(Listener):
    """Reads an archive. Stopped or killed, it goes on where it was."""

    def __init__(self, means: Means, job: Job) -> None:
        options = msgspec.convert(job.options, IndexOptions)
        config = means.config
        if options.collection is not None:
            config = replace(config, store=replace(config.store, collection=options.collection))
        self._report: Report | None = None
        self._over = False
        self._indexing = Indexing(
            config,
            tuple(Source(address=path) for path in options.paths),
            self,
            label_from_folder=options.label_from_folder,
            retry_refused=options.retry_refused,
        )

    def run(self, report: Report) -> bool:
        self._report = report
        self._indexing.prepare()
        report.total(self._indexing.total(lambda: self._over))
        stopped = self._indexing.run()
        if not stopped:
            self._indexing.gather(lambda _: self._tell("unknown people"), lambda _: None)
        self._tell("")
        return stopped

    def stop(self) -> None:
        self._over = True
        self._indexing.stop()

    def refused(self, source: str, reason: str) -> None:
        assert self._report is not None
        self._report.refused(source, reason)

    def advanced(self) -> None:
        self._tell("")

    def _tell(self, note: str) -> None:
        assert self._report is not None
        figures = self._indexing.summary()
        names = ("done", "already", "refused", "faces", "unlabelled")
        self._report.advanced(self._indexing.seen, {name: getattr(figures, name) for name in names}, note)


class _Once:
    """What is one call, and cannot be stopped."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._work = work

    def run(self, report: Report) -> bool:
        report.total(1)
        report.advanced(1, {}, self._work())
        return False

    def stop(self) -> None:
        """It ends by itself."""


def task(means: Means, job: Job) -> Task:
    """What does this job."""
    if job.kind == "index":
        return _Index(means, job)
    work: dict[Kind, Callable[[Means], str]] = {"backup": _backup, "verify": _verify, "compact": _compact}
    return _Once(lambda: work[job.kind](means))


class Backup(Struct, frozen=True, kw_only=True):
    """A copy of the gallery that is whole."""

    file: Path
    made: float
    """Seconds since the epoch."""
    size: int

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return self.file.name


def backups(config: Config) -> list[Backup]:
    """The copies that there are, newest first."""
    folder = backup_folder(config)
    found = sorted(folder.glob(f"{BACKUP}*.vultus") if folder.is_dir() else (), reverse=True)
    return [Backup(file=file, made=info.st_mtime, size=info.st_size) for file in found for info in [file.stat()]]


def _backup(means: Means) -> str:
    folder = backup_folder(means.config)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for second in itertools.count(int(time.time())):  # two may be asked for within one
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(second))
        own, whole = folder / f"{OWN_BACKUP}{stamp}.db", folder / f"{BACKUP}{stamp}.vultus"
        if not own.exists() and not whole.exists():
            break
    _copy(means.store, own)
    size = means.gallery.backup(whole)
    for old in backups(means.config)[means.config.serve.backup.keep :]:
        old.file.unlink(missing_ok=True)
        (folder / old.name.replace(BACKUP, OWN_BACKUP, 1)).with_suffix(".db").unlink(missing_ok=True)
    return f"{whole.name}, {size / 1e6:.1f} MB"


def _copy(store: Store, target: Path) -> None:
    """The server's own file as it is at one moment, for its owner's eyes only."""
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    copy = sqlite3.connect(target)
    try:
        with store.read() as connection:
            connection.backup(copy)
    finally:
        copy.close()


def _verify(means: Means) -> str:
    report = means.gallery.verify()
    if not report.ok:
        raise ValueError("; ".join(report.problems))
    return f"{report.faces} faces, sound"


def _compact(means: Means) -> str:
    return f"{means.gallery.compact() / 1e6:.1f} MB given back"
