"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Security
from fastapi.openapi.models import APIKey, HTTPBearer
from fastapi.openapi.models import SecurityBase as SecurityModel
from fastapi.routing import APIRoute, APIWebSocketRoute
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from vultus.server.accounts import COOKIE, nobody
from vultus.server.problems import Problem
from vultus.server.roles import Area, Principal, Role
from vultus.server.services import Here


class _Scheme(SecurityBase):
    """Lets the description of the API say how one signs in; `Guard` is who looks."""

    def __init__(self, name: str, model: SecurityModel) -> None:
        self.scheme_name, self.model = name, model

    async def __call__(self) -> None:
        """Nothing is left to do."""


_KEY = Security(_Scheme("key", HTTPBearer(description="An API key: `Authorization: Bearer vk_...`.")))
_SESSION = Security(
    _Scheme(
        "session",
        APIKey.model_validate(
            {
                "in": "cookie",
                "name": COOKIE,
                "description": f"The cookie of `POST /api/v1/session`, `__Host-{COOKIE}` over https. Whatever is not GET "
                "or HEAD needs its `csrf` in the header `X-CSRF-Token` too.",
            }
        ),
    )
)


class Needs:
    """What a route asks of whoever calls it; the dependency that `allowed` makes."""

    def __init__(self, role: Role, area: Area | Literal["accounts"] | None) -> None:
        self.role, self.area = role, area

    async def __call__(self, connection: HTTPConnection, _key: None = _KEY, _session: None = _SESSION) -> None:
        """Raises Problem: 401 if nobody asks, 403 if somebody else should."""
        asker: Principal | None = connection.state.asker
        if asker is None:
            raise nobody()
        if not asker.may(self.role):
            raise Problem(403, "forbidden", f"This is for the role {self.role}; yours is {asker.role}.")
        if self.area == "accounts":
            if asker.kind == "key":
                raise Problem(403, "forbidden", "This is for people who are signed in, not for API keys.")
        elif self.area is not None and self.area not in asker.areas:
            raise Problem(403, "forbidden", f"This API key is not for {self.area}.")


def allowed(role: Role, area: Area | Literal["accounts"] | None) -> Any:
    """A dependency: only for those of at least this role, and of API keys for those for this area.

    "accounts" is for no API key at all; None for all of them.
    """
    return Depends(Needs(role, area))


class Everybody:
    """Marks a route that answers before anybody is signed in."""

    async def __call__(self) -> None:
        """Let everybody in."""


PUBLIC: Any = Depends(Everybody())
"""A dependency of the few routes that need nobody to be signed in."""


def demands(router: APIRouter) -> Iterator[tuple[APIRoute | APIWebSocketRoute, list[Needs | Everybody]]]:
    """Every route of a router, and what it asks of its callers; one that asks nothing, not even PUBLIC, was forgotten."""
    for route in router.routes:
        assert isinstance(route, APIRoute | APIWebSocketRoute), f"{route}: a router of ours holds routes only"
        calls = (dependency.dependency for dependency in route.dependencies)
        yield route, [call for call in calls if isinstance(call, Needs | Everybody)]


async def _asker(connection: HTTPConnection) -> Principal:
    asker: Principal | None = connection.state.asker
    if asker is None:
        raise nobody()
    return asker


Asker = Annotated[Principal, Depends(_asker)]
"""What a route takes to know who asks."""


async def _visitor(connection: HTTPConnection) -> Principal | None:
    asker: Principal | None = connection.state.asker
    return asker


Visitor = Annotated[Principal | None, Depends(_visitor)]
"""What a page takes that is shown to everybody; None if nobody is signed in."""


async def _stream(connection: HTTPConnection) -> None:
    connection.state.hold_stream()


Stream = Depends(_stream)
"""A dependency of routes whose answer goes on for as long as somebody listens: so many of one address, or 429."""


async def _seat(here: Here) -> AsyncIterator[None]:
    async with here.desk.place("pictures"):
        yield


Seat = Depends(_seat)
"""A dependency of routes that find or embed faces: they take their turn, or answer 503."""
