"""How the server is: version, load, memory, stage processes; and the same for Prometheus."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from vultus.pipeline.metrics import WorkerMetrics
from vultus.server.access import allowed
from vultus.server.schemas import Listing, Schema, moment
from vultus.server.services import Here
from vultus.server.vitals import Sample

router = APIRouter(prefix="/system", tags=["system"], dependencies=[allowed("viewer", "system")])
metrics_router = APIRouter(tags=["system"], dependencies=[allowed("viewer", "system")])


class Moment(Schema):
    """The server at one time; memory in bytes."""

    at: datetime
    load: float
    memory: int
    stages: int
    working: int
    """Searches and detections that were worked on."""
    waiting: int
    """Searches and detections that waited."""


class Process(Schema):
    """A stage process."""

    group: str
    worker: int
    stages: list[str]
    state: str
    pid: int | None
    restarts: int
    busy: float
    """Share of the last five seconds in which it worked, and did not wait, 0 to 1."""
    memory: int
    queue: int
    """Messages that wait in it."""


class System(Schema):
    """The server now."""

    version: str
    started: datetime
    model: str
    """The embedder."""
    threshold: float
    """Similarity from which on a face is a person."""
    turned_away: int
    """Requests answered with 503 since the start."""
    now: Moment
    processes: list[Process]


class History(Listing[Moment]):
    """The last day, oldest first."""


class Reloaded(Schema):
    """What is different in the configuration, by its keys."""

    changed: list[str]
    """In force from now on."""
    restart: list[str]
    """In force after a restart."""


@router.get("")
def show(here: Here) -> System:
    """Version, load, memory, queues and stage processes."""
    health = here.health()
    return System(
        version=version("vultus"),
        started=moment(here.vitals.started),
        model=here.faces.model.name,
        threshold=here.threshold,
        turned_away=here.desk.turned_away,
        now=_moment(here.vitals.now()),
        processes=[]
        if health is None
        else [_process(process) for process in health.processes if process.state != "ended"],
    )


@router.get("/history")
def history(here: Here) -> History:
    """Load, memory and queues every 15 seconds of the last day, while the server ran."""
    return History(items=[_moment(sample) for sample in here.vitals.history()])


@router.post("/reload", dependencies=[allowed("admin", "system")])
def reload(here: Here) -> Reloaded:
    """Read the configuration file again: cameras and archives change at once, the rest at the next start."""
    found = here.reload()
    return Reloaded(changed=list(found.changed), restart=list(found.restart))


@metrics_router.get("/metrics", response_class=Response)
def metrics(here: Here) -> Response:
    """Everything for Prometheus, in its text format; give its scraper an API key of the area `system`."""
    return Response(generate_latest(here.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _moment(sample: Sample) -> Moment:
    return Moment(
        at=moment(sample.at),
        load=sample.load,
        memory=sample.memory,
        stages=sample.stages,
        working=sample.working,
        waiting=sample.waiting,
    )


def _process(process: WorkerMetrics) -> Process:
    return Process(
        group=process.group,
        worker=process.worker,
        stages=list(process.stages),
        state=process.state,
        pid=process.pid,
        restarts=process.restarts,
        busy=process.busy_share,
        memory=process.counters.resident,
        queue=process.counters.waiting,
    )
