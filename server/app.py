"""The web application: routes, middleware and errors put together over open services."""

from __future__ import annotations

import threading
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI

from vultus.server.access import Everybody, demands
from vultus.server.bounds import BoundedBody
from vultus.server.guard import Guard
from vultus.server.headers import Headers
from vultus.server.observed import Observed
from vultus.server.pages import PAGES
from vultus.server.pages.site import problem_page
from vultus.server.paths import Paths
from vultus.server.problems import MEDIA_TYPE, add_handlers
from vultus.server.routes import (
    acts,
    archives,
    backups,
    calibration,
    cameras,
    description,
    events,
    faces,
    gallery,
    health,
    jobs,
    keys,
    live,
    models,
    mqtt,
    people,
    photos,
    rules,
    search,
    security,
    session,
    sightings,
    system,
    unknowns,
    users,
    webhooks,
)
from vultus.server.schemas import ProblemDetails
from vultus.server.services import Services

_ROUTES = (
    search,
    description,
    session,
    users,
    keys,
    security,
    photos,
    people,
    faces,
    unknowns,
    acts,
    sightings,
    calibration,
    gallery,
    cameras,
    live,
    events,
    rules,
    archives,
    jobs,
    backups,
    models,
    system,
    webhooks,
    mqtt,
)
"""Modules of `vultus.server.routes`, each with a `router`, in the order in which the documentation shows them and a request
tries them, which takes a while: the busiest comes first."""
_BESIDE = (*(page.router for page in PAGES), health.router, system.metrics_router)
"""Routers of what is not below /api/v1."""
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "content": {MEDIA_TYPE: {}}, "description": what}
    for status, what in (
        (400, "Not readable"),
        (401, "Nobody is signed in"),
        (403, "Not for this role"),
        (404, "Not there"),
        (408, "Too slow"),
        (409, "Not as things stand"),
        (413, "Too large"),
        (421, "Not what this server is called"),
        (422, "Not as described"),
        (429, "Too often"),
        (431, "Headers too large"),
        (503, "Busy; try again after Retry-After seconds"),
    )
}

_DESCRIPTION: dict[str, Any] = {}
_DESCRIBING = threading.Lock()


class _Application(FastAPI):
    """FastAPI whose description is made once a process: it is the same for all services, and more than a second's work."""

    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        with _DESCRIBING:
            if not _DESCRIPTION:
                _DESCRIPTION.update(super().openapi())
                _describe_locations(_DESCRIPTION)
        return _DESCRIPTION


def _describe_locations(description: dict[str, Any]) -> None:
    """Whatever is made says where it is; the tests hold every route to it."""
    where = {"description": "The path of what was made", "required": True, "schema": {"type": "string"}}
    for operations in description["paths"].values():
        for operation in operations.values():
            if (made := operation["responses"].get("201")) is not None:
                made["headers"] = {"Location": where}


def create_app(services: Services) -> FastAPI:
    """The application over services that are open, for any ASGI server."""
    app = _Application(
        title="vultus",
        version=version("vultus"),
        description="Finds people in pictures: search, people, cameras and events of one gallery.",
        openapi_url=None,  # `routes/description.py` answers
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    for module in _ROUTES:
        app.include_router(_guarded(module.router), prefix="/api/v1", responses=_PROBLEMS)
    for router in _BESIDE:
        app.include_router(_guarded(router))
    paths = Paths([*(("/api/v1", module.router) for module in _ROUTES), *(("", router) for router in _BESIDE)])
    add_handlers(app, paths.methods, problem_page)
    files = ("/api/v1/uploads/", services.config.decode.max_file_bytes)
    app.add_middleware(BoundedBody, limits=services.config.serve.limits, files=files)
    app.add_middleware(Guard, services=services, public=_public())
    app.add_middleware(Headers)
    app.add_middleware(Observed, metrics=services.metrics, routes=paths.shown)
    return app


def _guarded(router: APIRouter) -> APIRouter:
    """The router, if every route of it says who may call it. Raises TypeError."""
    forgotten = [route.path for route, needs in demands(router) if not needs]
    if forgotten:
        raise TypeError(f"routes that do not say who may call them: {forgotten}")
    return router


def _public() -> set[tuple[str, str]]:
    """What of the API answers before anybody is signed in."""
    return {
        (method, f"/api/v1{route.path}")
        for module in _ROUTES
        for route, needs in demands(module.router)
        for method in getattr(route, "methods", ())
        if any(isinstance(need, Everybody) for need in needs)
    }
