"""Live pictures, and the cameras that they come from."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vultus.index.types import Seen
from vultus.server.access import allowed
from vultus.server.cameras.changes import condition
from vultus.server.pages.site import PageRoute, render
from vultus.server.schemas import IdInPath
from vultus.server.services import Here

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "cameras")])
_SEEN = 12
_DOTS = {
    "connected": "good",
    "lost": "bad",
    "unusable": "bad",
    "connecting": "unsure",
    "waiting": "unsure",
}
"""States as colours; those that are left out are nothing to worry about."""


@router.get("/live")
def live(request: Request, here: Here) -> Response:
    """All cameras that are switched on, and who was seen last."""
    return render(
        request,
        "live",
        cameras=[camera for camera in here.cameras.all() if camera.enabled],
        seen=here.gallery.seen(Seen(), limit=_SEEN),
        newest=here.gallery.newest_sighting(),
    )


@router.get("/cameras", dependencies=[allowed("operator", "cameras")])
def cameras(request: Request, here: Here, add: bool = False) -> Response:
    """Every camera and how it is."""
    conditions = here.watching.conditions()
    listed = [(camera, conditions.get(camera.id) or condition(camera, None, None, "")) for camera in here.cameras.all()]
    return render(request, "cameras", cameras=listed, dots=_DOTS, adding=add)


@router.get("/cameras/{number}", dependencies=[allowed("operator", "cameras")])
def camera(request: Request, here: Here, number: IdInPath) -> Response:
    """One camera: areas of its picture, address, state."""
    found = here.cameras.get(number)
    health = here.watching.conditions().get(number) or condition(found, None, None, "")
    return render(request, "camera", place="cameras", camera=found, health=health, dots=_DOTS)
