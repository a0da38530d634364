"""Long work: indexing archives, backups, checks; with progress, to be stopped and gone on with."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response

from vultus.index.names import clean_name
from vultus.server.access import Asker, allowed
from vultus.server.jobs import record
from vultus.server.problems import Problem
from vultus.server.schemas import IdInPath, Limit, Listing, NumberCursor, Schema, moment
from vultus.server.services import Here

router = APIRouter(prefix="/jobs", tags=["jobs"], dependencies=[allowed("operator", "jobs")])
ADMIN = allowed("admin", "system")


class IndexRequest(Schema):
    """An archive to be read."""

    paths: list[str]
    """Files and folders below `serve.archives.folders`, or the `path` of an upload; 1 to 100."""
    label_from_folder: bool = False
    """The folder that holds a photo is the name of the person on it."""
    collection: str | None = None
    """What new faces belong to."""
    retry_refused: bool = False
    """Try files again that an earlier job refused."""


class Job(Schema):
    """Long work and how far it is."""

    id: int
    kind: Literal["index", "backup", "verify", "compact"]
    title: str
    state: Literal["queued", "running", "stopping", "done", "failed", "cancelled"]
    by: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    total: int | None
    """How many things there are to do; null while that is not known."""
    seen: int
    counts: dict[str, int]
    """Of an index job: done, already, refused, faces, unlabelled."""
    note: str
    error: str | None
    paths: list[str]


class Refusal(Schema):
    """A file that could not be used, and why."""

    source: str
    reason: str


@router.get("")
def list_jobs(here: Here, limit: Limit = 50, cursor: NumberCursor = None) -> Listing[Job]:
    """All jobs, newest first."""
    found = here.jobs.records.listed(cursor, limit)
    return Listing(items=[shape(job) for job in found], next=str(found[-1].id) if len(found) == limit else None)


@router.post("/index", status_code=201)
def index(here: Here, asker: Asker, wanted: IndexRequest, response: Response) -> Job:
    """Put the faces of every photo and video below some paths into the gallery.

    One job runs at a time, the others wait. A file that did not change since is not read again, so the same job may be asked
    for at any time.
    """
    if not 1 <= len(wanted.paths) <= 100:
        raise Problem(422, "invalid", "A job has 1 to 100 paths.")
    paths = [here.archives.checked(path) for path in wanted.paths]
    collection = None if wanted.collection is None else clean_name(wanted.collection, "a collection")
    options = wanted.model_dump() | {"paths": paths, "collection": collection}
    title = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return _begun(response, here.jobs.add("index", title, asker.actor, options))


@router.post("/backup", status_code=201, dependencies=[ADMIN])
def backup(here: Here, asker: Asker, response: Response) -> Job:
    """Copy the gallery and the server's own data, while both are used."""
    return _begun(response, here.jobs.add("backup", "backup", asker.actor))


@router.post("/verify", status_code=201, dependencies=[ADMIN])
def verify(here: Here, asker: Asker, response: Response) -> Job:
    """Check every table, vector and checksum of the gallery; what is wrong is the job's error."""
    return _begun(response, here.jobs.add("verify", "check of the gallery", asker.actor))


@router.post("/compact", status_code=201, dependencies=[ADMIN])
def compact(here: Here, asker: Asker, response: Response) -> Job:
    """Give the space of deleted faces back to the disk."""
    return _begun(response, here.jobs.add("compact", "giving back space", asker.actor))


@router.get("/{number:int}")
def show(here: Here, number: IdInPath) -> Job:
    """One job."""
    return shape(here.jobs.records.get(number))


@router.get("/{number:int}/refusals")
def refusals(here: Here, number: IdInPath, limit: Limit = 100, cursor: NumberCursor = None) -> Listing[Refusal]:
    """What it refused, and why, in its order; 10,000 refusals are kept."""
    here.jobs.records.get(number)
    found = here.jobs.records.refusals(number, cursor or 0, limit)
    return Listing(
        items=[Refusal(source=source, reason=reason) for _, source, reason in found],
        next=str(found[-1][0]) if len(found) == limit else None,
    )


@router.post("/{number:int}/cancel")
def cancel(here: Here, number: IdInPath) -> Job:
    """Stop it; what it did so far stays, and `resume` goes on from there."""
    return shape(here.jobs.cancel(number))


@router.post("/{number:int}/resume")
def resume(here: Here, number: IdInPath) -> Job:
    """Let a job that failed or was cancelled go on."""
    return shape(here.jobs.resume(number))


def _begun(response: Response, job: record.Job) -> Job:
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return shape(job)


def shape(job: record.Job) -> Job:
    """A job as the API tells it."""
    return Job(
        id=job.id,
        kind=job.kind,
        title=job.title,
        state=job.state,
        by=job.by,
        created=moment(job.created),
        started=moment(job.started),
        ended=moment(job.ended),
        total=job.total,
        seen=job.seen,
        counts=job.counts,
        note=job.note,
        error=job.error,
        paths=list(job.options.get("paths", ())),
    )
