"""Unknown people: one row of faces each, to be named."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from vultus.server.access import allowed
from vultus.server.pages.site import Cursor, PageRoute, render
from vultus.server.services import Here

router = APIRouter(
    prefix="/unknowns", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "people")]
)
_PERSONS, _FACES = 20, 16


@router.get("")
def unknowns(
    request: Request,
    here: Here,
    order: Literal["faces", "newest"] = "faces",
    least: Annotated[int, Query(ge=1, le=1000)] = 1,
    hidden: bool = False,
    cursor: Cursor = None,
) -> Response:
    """Unknown people, those with most faces first."""
    gallery = here.gallery
    page = gallery.unknowns.page(order=order, least=least, hidden=hidden, limit=_PERSONS, cursor=cursor)
    faces = {one.id: gallery.faces_page(one.id, order="best", limit=_FACES).items for one in page.items}
    return render(
        request,
        "unknowns",
        page=page,
        faces=faces,
        order=order,
        least=least,
        hidden=hidden,
        cursor=cursor,
        pending=gallery.unknowns.pending(),
    )
