"""Who signed in, who tried, and what became of users and keys."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from vultus.server.access import allowed
from vultus.server.schemas import Limit, Listing, NumberCursor, Schema, moment
from vultus.server.services import Here
from vultus.server.trail import What

router = APIRouter(prefix="/security", tags=["accounts"], dependencies=[allowed("admin", "accounts")])


class Happening(Schema):
    """An entry."""

    id: int
    at: datetime
    actor: str
    """Who did it; of a login that failed, who they said they were."""
    address: str
    what: What
    about: str
    """The user or key that was changed."""


@router.get("")
def list_security(
    here: Here,
    limit: Limit = 100,
    cursor: NumberCursor = None,
) -> Listing[Happening]:
    """Logins, failed ones, and changes of users and keys, newest first."""
    found = here.accounts.trail.page(limit, cursor)
    items = [
        Happening(id=one.id, at=moment(one.at), actor=one.actor, address=one.address, what=one.what, about=one.about)
        for one in found
    ]
    return Listing[Happening](items=items, next=str(found[-1].id) if len(found) == limit else None)
