"""Signing in, one's own account, users and keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from vultus.server.access import PUBLIC, allowed
from vultus.server.pages.site import PageRoute, render
from vultus.server.roles import AREAS

router = APIRouter(route_class=PageRoute, include_in_schema=False)


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
def users(request: Request) -> Response:
    """Who may do what, and keys for programs."""
    return render(request, "users", areas=AREAS)
