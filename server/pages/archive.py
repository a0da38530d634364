"""Archive: folders and uploads put into the gallery, with progress and what was refused."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vultus.server.access import allowed
from vultus.server.pages.site import PageRoute, render
from vultus.server.services import Here

router = APIRouter(
    prefix="/archive", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("operator", "jobs")]
)


@router.get("")
def archive(request: Request, here: Here) -> Response:
    """What may be indexed; jobs are filled in by the script, since they change while one looks."""
    return render(request, "archive", roots=here.archives.roots)
