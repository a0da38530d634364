"""Whether the server lives, and whether it can answer."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from vultus.server.access import PUBLIC
from vultus.server.schemas import Schema
from vultus.server.services import Here

router = APIRouter(tags=["health"], dependencies=[PUBLIC])


class Alive(Schema):
    """The process answers."""

    status: Literal["ok"] = "ok"


@router.get("/livez")
async def livez() -> Alive:
    """Whether the process answers at all; restart it if not."""
    return Alive()


@router.get("/readyz")
def readyz(here: Here) -> Alive:
    """Whether gallery and server data can be read; send no requests if not (503)."""
    here.gallery.stats()
    with here.store.read() as connection:
        connection.execute("SELECT 1").fetchone()
    return Alive()
