"""Signing in, one's own account, users and keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from vultus.server.access import PUBLIC, allowed
from vultus.server.pages.site import PageRoute, render
from vultus.server.roles import AREAS
from vultus.server.schemas import NumberCursor
from vultus.server.services import Here

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_ENTRIES = 50


@router.get("/sign-in", dependencies=[PUBLIC])
def sign_in(request: Request, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:
    """Name and password; who is signed in goes on."""
    # Only a path of this server: `//host` and `/\host` are addresses of others to a browser.
    onward = next if next.startswith("/") and next[1:2] not in ("/", "\\") and next.isprintable() else "/"
    if request.state.asker is not None:
        return RedirectResponse(onward, 303)
    return render(request, "sign-in", next=onward)


@router.get("/account", dependencies=[allowed("viewer", None)])
def account(request: Request) -> Response:
    """Who one is, and one's password."""
    return render(request, "account")


@router.get("/users", dependencies=[allowed("admin", "accounts")])
def users(request: Request, here: Here, cursor: NumberCursor = None) -> Response:
    """Who may do what, keys for programs, and what became of both."""
    found = here.accounts.trail.page(_ENTRIES, cursor)
    onward = str(found[-1].id) if len(found) == _ENTRIES else None
    return render(request, "users", areas=AREAS, trail=found, onward=onward)
