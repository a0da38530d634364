"""People: all of them, and each one's faces."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from vultus.index.directory import FacesOrder, PeopleOrder
from vultus.index.types import Seen
from vultus.server.access import allowed
from vultus.server.pages.site import Cursor, PageRoute, render
from vultus.server.schemas import IdInPath
from vultus.server.services import Here

router = APIRouter(
    prefix="/people", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "people")]
)
_PERSONS, _FACES, _SEEN = 60, 120, 12


@router.get("")
def people(
    request: Request,
    here: Here,
    q: Annotated[str, Query(max_length=200)] = "",
    order: PeopleOrder = "name",
    hidden: bool = False,
    cursor: Cursor = None,
) -> Response:
    """Everybody who has a name, by part of it."""
    page = here.gallery.people(q or None, order=order, hidden=hidden, limit=_PERSONS, cursor=cursor)
    stats = here.gallery.stats()
    return render(request, "people", page=page, q=q, order=order, hidden=hidden, cursor=cursor, stats=stats)


@router.get("/{number}")
def person(
    request: Request,
    here: Here,
    number: IdInPath,
    order: FacesOrder = "best",
    cursor: Cursor = None,
) -> Response:
    """One person, named or not, with faces and last sightings."""
    return render(
        request,
        "person",
        place="people",
        person=here.gallery.person(number),
        faces=here.gallery.faces_page(number, order=order, limit=_FACES, cursor=cursor),
        seen=here.gallery.seen(Seen(people=(number,)), limit=_SEEN),
        order=order,
        cursor=cursor,
    )
