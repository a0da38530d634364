"""Signing in and out, and who one is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, SecretStr

from vultus.server.access import PUBLIC, Asker, allowed
from vultus.server.accounts import cookie_name, secure
from vultus.server.passwords import MOST
from vultus.server.problems import Problem
from vultus.server.roles import AREAS, Area, Principal, Role
from vultus.server.schemas import Schema, moment
from vultus.server.services import Here
from vultus.server.sessions import Session

router = APIRouter(prefix="/session", tags=["session"])

Password = Annotated[SecretStr, Field(min_length=1, max_length=4 * MOST)]

_NO_SESSION: dict[int | str, dict[str, str]] = {409: {"description": "Nobody signed in to make this request"}}


class Login(Schema):
    """Who signs in."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password


class NewPassword(Schema):
    """Another password for oneself."""

    current: Password
    new: Password
    """12 to 128 characters, not made of common passwords, rows of keys or the user's name."""


class Me(Schema):
    """Who asks, and how far that goes."""

    kind: Literal["local", "user", "key"]
    """local: there are no users yet, so everybody on this machine may do everything."""
    name: str
    role: Role
    areas: list[Area]
    csrf: str | None
    """For the header `X-CSRF-Token` of requests that change something, where a cookie says who asks."""
    expires: datetime | None
    """When one has to sign in again in any case."""


@router.get("", dependencies=[allowed("viewer", None)])
async def me(request: Request, asker: Asker) -> Me:
    """Who asks; 401 if nobody is signed in."""
    return _me(asker, request.state.session)


@router.post("", dependencies=[PUBLIC])
async def login(request: Request, response: Response, here: Here, who: Login) -> Me:
    """Sign in: a session begins, whose token is in a cookie that scripts cannot read. One that was there ends."""
    accounts, address = here.accounts, request.state.address
    user = await accounts.login(who.name, who.password.get_secret_value(), address)
    await to_thread.run_sync(accounts.trail.note, "login", user.name, address)
    return await _begin(request, response, here, user.id)


@router.delete("", status_code=204, responses=_NO_SESSION, dependencies=[allowed("viewer", None)])
def logout(
    request: Request,
    response: Response,
    here: Here,
    asker: Asker,
    everywhere: Annotated[bool, Query(description="End all sessions of this user.")] = False,
) -> None:
    """Sign out."""
    user = _user(asker)
    if everywhere:
        here.accounts.sessions.end_all(user)
    else:
        here.accounts.sessions.end(request.cookies[cookie_name(request)])
    here.accounts.trail.note("sessions-ended" if everywhere else "logout", asker.name, request.state.address)
    response.delete_cookie(cookie_name(request), secure=secure(request), httponly=True, samesite="lax")


@router.put("/password", responses=_NO_SESSION, dependencies=[allowed("viewer", None)])
async def password(request: Request, response: Response, here: Here, asker: Asker, wanted: NewPassword) -> Me:
    """Change one's own password. All sessions end, and a new one begins."""
    accounts, address, user = here.accounts, request.state.address, _user(asker)
    await accounts.login(asker.name, wanted.current.get_secret_value(), address)
    new = wanted.new.get_secret_value()
    await accounts.hashing(lambda: accounts.users.set_password(user, new))
    await to_thread.run_sync(accounts.trail.note, "password-changed", asker.name, address, asker.name)
    return await _begin(request, response, here, user)


async def _begin(request: Request, response: Response, here: Here, user: int) -> Me:
    sessions, name = here.accounts.sessions, cookie_name(request)
    if (old := request.cookies.get(name)) is not None:
        await to_thread.run_sync(sessions.end, old)
    token = await to_thread.run_sync(sessions.begin, user)
    seconds = int(here.config.serve.sessions.longest)
    response.set_cookie(name, token, max_age=seconds, path="/", secure=secure(request), httponly=True, samesite="lax")
    who, session = here.accounts.begun(token)
    return _me(who, session)


def _me(who: Principal, session: Session | None) -> Me:
    return Me(
        kind=who.kind,
        name=who.name,
        role=who.role,
        areas=[area for area in AREAS if area in who.areas],
        csrf=session.csrf if session else None,
        expires=moment(session.expires) if session else None,
    )


def _user(asker: Principal) -> int:
    if asker.kind != "user":
        raise Problem(409, "no-session", "Nobody signed in to make this request, so there is no session.")
    assert isinstance(asker.id, int)
    return asker.id
