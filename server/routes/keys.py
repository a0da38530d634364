"""API keys: for admins who are signed in."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Request, Response
from msgspec import to_builtins
from pydantic import Field

from vultus.server import keys
from vultus.server.access import Asker, allowed
from vultus.server.problems import Problem
from vultus.server.roles import Area, Role
from vultus.server.schemas import Listing, Name, Schema, When, moment
from vultus.server.services import Here

router = APIRouter(prefix="/keys", tags=["accounts"], dependencies=[allowed("admin", "accounts")])

Number = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class KeyNew(Schema):
    """A key that is to be made."""

    name: Name
    """Whose it is; in the audit log it is `key:NAME`."""
    role: Role
    areas: Annotated[list[Area], Field(min_length=1, max_length=6)]
    """What it is for. Users and keys are managed by people, never by a key."""
    expires: When | None = None
    """When it ends; none: when somebody ends it."""


class Key(Schema):
    """What is known of a key; its secret is not."""

    id: str
    name: str
    role: Role
    areas: list[Area]
    created: datetime
    created_by: str
    expires: datetime | None
    last_used: datetime | None
    """To the minute."""
    last_address: str | None


class KeyMade(Key):
    """A new key."""

    key: str
    """`Authorization: Bearer` and this. It is shown now and never again."""


@router.get("")
def list_keys(here: Here) -> Listing[Key]:
    """All keys, by name."""
    return Listing[Key](items=[Key(**_shown(key)) for key in here.accounts.keys.all()], next=None)


@router.post("", status_code=201, responses={409: {"description": "The name is taken"}})
async def make_key(request: Request, response: Response, here: Here, asker: Asker, new: KeyNew) -> KeyMade:
    """Make a key for a program, with a role and areas as small as it can do with."""
    if new.expires is not None and new.expires.timestamp() <= time.time():
        raise Problem(422, "invalid", "expires: that time has passed already.")
    expires = new.expires.timestamp() if new.expires is not None else None
    made, text = await here.accounts.hashing(
        lambda: here.accounts.keys.make(new.name.strip(), new.role, new.areas, asker.actor, expires)
    )
    await to_thread.run_sync(
        here.accounts.trail.note, "key-made", asker.actor, request.state.address, f"{made.name} ({made.id})"
    )
    response.headers["Location"] = f"/api/v1/keys/{made.id}"
    return KeyMade(**_shown(made), key=text)


@router.get("/{key}")
def show_key(here: Here, key: Number) -> Key:
    """One key, without what is secret."""
    return Key(**_shown(here.accounts.keys.get(key)))


@router.delete("/{key}", status_code=204)
def remove_key(request: Request, here: Here, asker: Asker, key: Number) -> None:
    """End a key: the next request with it is refused, and streams that it opened end."""
    gone = here.accounts.keys.remove(key)
    here.accounts.trail.note("key-removed", asker.actor, request.state.address, f"{gone.name} ({gone.id})")


def _shown(key: keys.Key) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created", "expires", "last_used")}
    shown: dict[str, Any] = to_builtins(key)
    return shown | {name: moment(time) for name, time in times.items()}
