"""The first page: what to do next while the gallery knows nobody, else what is happening."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from vultus.server.access import allowed
from vultus.server.pages.site import PageRoute, render
from vultus.server.services import Here

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", None)])


@router.get("/")
def home(here: Here) -> Response:
    """The guide while nobody has a name, else people or cameras."""
    stats = here.gallery.stats()
    if not stats.identities:
        return RedirectResponse("/start", 303)
    return RedirectResponse("/sightings" if stats.sightings else "/people", 303)


@router.get("/start")
def start(request: Request, here: Here) -> Response:
    """From an empty gallery to the first named face."""
    return render(request, "start", stats=here.gallery.stats())
