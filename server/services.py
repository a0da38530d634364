"""What the routes work with: the gallery, the face finders, the server's own file, and what runs beside the requests."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Annotated, Self

from fastapi import Depends
from starlette.requests import HTTPConnection

from vultus.configs import DatabaseUrl
from vultus.configs.loader import server_folder
from vultus.configs.schema import Config
from vultus.index.audit import Actor
from vultus.index.configured import open_gallery
from vultus.index.gallery import Gallery
from vultus.index.veil import Veil
from vultus.pipeline.health import Health
from vultus.server.accounts import Accounts
from vultus.server.archives import Archives
from vultus.server.cameras.live import Live
from vultus.server.cameras.register import Register
from vultus.server.cameras.watching import Watching, pruning
from vultus.server.desk import Desk
from vultus.server.events.cameras import CameraEvents
from vultus.server.events.courier import Courier
from vultus.server.events.feed import Feed
from vultus.server.events.log import EventLog
from vultus.server.events.mqtt import Mqtt
from vultus.server.events.pump import Pump
from vultus.server.events.rulebook import Rulebook
from vultus.server.events.webhooks import Webhooks, log_name
from vultus.server.faces import Faces
from vultus.server.jobs.record import Job
from vultus.server.jobs.runner import Jobs
from vultus.server.jobs.tasks import Means
from vultus.server.metrics import Metrics
from vultus.server.reloading import Reloaded, Reloading
from vultus.server.store import Store
from vultus.server.together import Together
from vultus.server.vault import Vault
from vultus.server.vitals import Vitals
from vultus.stages.gallery import threshold


class Services:
    """Everything that is open while the server runs; a context manager, entered before the first request."""

    gallery: Gallery
    vault: Vault
    events: EventLog
    feed: Feed
    cameras: Register
    watching: Watching
    jobs: Jobs
    rules: Rulebook
    pump: Pump
    vitals: Vitals
    metrics: Metrics
    searches: Together[tuple[int, Actor], str]
    webhooks: Webhooks
    courier: Courier
    mqtt: Mqtt

    def __init__(self, config: Config, read: Callable[[], Config] | None = None) -> None:
        """`read` gives the configuration as it is then, when the server is told to read it again."""
        self._reloading = Reloading(config, read)
        self.config = config
        self.veil = Veil(config.privacy)
        self.desk = Desk(config.serve.limits)
        self.faces = Faces(self.config)
        self.store = Store(server_folder(config))
        self.accounts = Accounts(self.store, config.serve)
        self.archives = Archives(self.config)
        self.live = Live()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.callback(self.store.close)
            opening.enter_context(self.accounts)
            self.vault = Vault.open(self.config, self.store)
            self.faces.open()
            opening.callback(self.faces.close)
            self.gallery = open_gallery(self.config, self.faces.model.fingerprint, create=True, server=True)
            opening.callback(self.gallery.close)
            self.searches = opening.enter_context(self._searches())
            self._open_events(opening)
            self._open_cameras(opening)
            means = Means(config=self.config, gallery=self.gallery, store=self.store)
            self.jobs = opening.enter_context(Jobs(means, self._job_changed))
            self.vitals = opening.enter_context(Vitals(self.desk, self.health))
            self.metrics = Metrics(self.desk, self.gallery, self.health)
            self._open = opening.pop_all()
        return self

    def _searches(self) -> Together[tuple[int, Actor], str]:
        """Of a gallery in a folder as many at a time as there are processors; a database has its own, elsewhere perhaps."""
        most = self.config.serve.limits.searches
        at_once = most if isinstance(self.gallery.path, DatabaseUrl) else len(os.sched_getaffinity(0))
        return Together(at_once, most)

    def _open_events(self, opening: ExitStack) -> None:
        self.events = EventLog(self.store, self.config.serve.events)
        self.feed = Feed(self.gallery, self.events)
        self.camera_events = CameraEvents(self.store, self.events)
        self.rules = Rulebook(self.store, self.camera_events.size)
        self.pump = Pump(self.gallery, self.store, self.events, self.rules.alerts)
        rules = self.config.serve.webhooks
        self.webhooks = Webhooks(self.store, self.vault, self.events, rules)
        name = log_name(self.store)
        self.courier = Courier(self.feed, self.webhooks, rules, name)
        self.mqtt = Mqtt(
            self.config.serve.mqtt, self.store, self.gallery, self.events, self.feed, self.rules, self.veil, name
        )
        for part in (self.feed, self.courier, self.mqtt, self.camera_events, self.pump):
            part.open()
            opening.callback(part.close)

    def _open_cameras(self, opening: ExitStack) -> None:
        self.cameras = Register(self.store, self.vault, self.config.sources)
        self.cameras.open()
        self.watching = Watching(self.config, self.cameras, self.gallery, self.live.show)
        self.watching.listeners += [self.live.changed, self.camera_events.changed]
        opening.enter_context(pruning(self.gallery, self.config.retention))
        opening.enter_context(self.watching)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def _job_changed(self, job: Job) -> None:
        about = {"job": job.id, "kind": job.kind, "title": job.title, "state": job.state, "error": job.error}
        self.events.append("job", details=about)

    def reload(self) -> Reloaded:
        """Read the configuration again; what is different now. Raises ConfigError (a ValueError)."""
        return self._reloading.reload(self.cameras, self.watching, self.archives)

    def health(self) -> Health | None:
        """How cameras and stage processes are; none while there are none."""
        return self.watching.health()

    @property
    def threshold(self) -> float:
        """Cosine at or above which a face is a person: the configured one, the gallery's calibrated one, or the model's."""
        return threshold(self.config, self.faces.model, self.gallery)


async def _services(connection: HTTPConnection) -> Services:  # not a plain function, for which FastAPI takes a thread
    services: Services = connection.app.state.services
    return services


Here = Annotated[Services, Depends(_services)]
"""What a route takes to get at the services."""
