"""Search: who is on a photo."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vultus.server.access import allowed
from vultus.server.pages.site import PageRoute, render
from vultus.server.schemas import Id
from vultus.server.services import Here

router = APIRouter(
    prefix="/search", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "search")]
)


@router.get("")
def search(request: Request, here: Here, face: Id | None = None) -> Response:
    """A place for a photo; or what resembles a stored face."""
    return render(
        request,
        "search",
        face=None if face is None else here.gallery.face(face),
        threshold=here.threshold,
        stats=here.gallery.stats(),
        collections=here.gallery.collections(),
    )
