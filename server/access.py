"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from msgspec import Struct

from vultus.server.problems import Problem
from vultus.server.services import Here

Role = Literal["viewer", "operator", "admin"]
"""Each may do what those before it may: look and search; name, enrol, and work with people; everything."""
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")


class Principal(Struct, frozen=True, kw_only=True):
    """Whoever makes a request."""

    name: str
    role: Role


LOCAL = Principal(name="local", role="admin")
"""Anybody on this machine, while there are no users."""


async def _principal(_: Request) -> Principal:
    return LOCAL


Asker = Annotated[Principal, Depends(_principal)]
"""What a route takes to know who asks."""


def allowed(role: Role) -> Any:
    """A dependency: only for those of at least this role, whose name the gallery's audit log gets for what they do."""

    async def check(asker: Asker, here: Here) -> AsyncIterator[None]:
        if ROLES.index(asker.role) < ROLES.index(role):
            raise Problem(403, "forbidden", f"This is for the role {role}; yours is {asker.role}.")
        with here.gallery.audit.acting(asker.name):
            yield

    return Depends(check)


async def _seat(here: Here) -> AsyncIterator[None]:
    async with here.desk.place():
        yield


Seat = Depends(_seat)
"""A dependency of routes that search or compute: they take their turn, or answer 503."""
