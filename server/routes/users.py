"""Who may sign in: for admins who are signed in themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr

from vultus.server import users
from vultus.server.access import Asker, allowed
from vultus.server.passwords import MOST
from vultus.server.roles import Role
from vultus.server.schemas import IdInPath, Listing, Schema, moment
from vultus.server.services import Here

router = APIRouter(prefix="/users", tags=["accounts"], dependencies=[allowed("admin", "accounts")])

Password = Annotated[SecretStr, Field(min_length=1, max_length=4 * MOST)]
"""12 to 128 characters, not made of common passwords, rows of keys or the user's name."""
_TAKEN: dict[int | str, dict[str, str]] = {409: {"description": "The name is taken, or no admin would be left"}}


class UserNew(Schema):
    """Somebody who is to sign in. The first one has to be an admin; from then on everybody has to sign in."""

    name: Annotated[str, Field(pattern=rf"^{users.NAME.pattern}$", examples=["ada"])]
    role: Role
    password: Password


class UserChange(Schema):
    """What is to be different; the user has to sign in again."""

    role: Role | None = None
    password: Password | None = None


class User(Schema):
    """Somebody who may sign in."""

    id: int
    name: str
    role: Role
    created: datetime
    last_login: datetime | None
    sessions: int
    """How often signed in now."""


@router.get("")
def list_users(here: Here) -> Listing[User]:
    """All users, by name."""
    return Listing[User](items=[_user(user) for user in here.accounts.users.all()], next=None)


@router.post("", status_code=201, responses=_TAKEN)
async def add_user(request: Request, response: Response, here: Here, asker: Asker, new: UserNew) -> User:
    """Add a user. With the first one authentication begins everywhere, and nobody is "local" any more."""
    accounts, password = here.accounts, new.password.get_secret_value()
    user = await accounts.hashing(lambda: accounts.users.add(new.name, new.role, password))
    await to_thread.run_sync(accounts.trail.note, "user-added", asker.actor, request.state.address, user.name)
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return _user(user)


@router.get("/{user}")
def show_user(here: Here, user: IdInPath) -> User:
    """One user."""
    return _user(here.accounts.users.get(user))


@router.patch("/{user}", responses=_TAKEN)
async def change_user(request: Request, here: Here, asker: Asker, user: IdInPath, change: UserChange) -> User:
    """Give a user another role or a new password. All sessions of that user end."""
    accounts, address = here.accounts, request.state.address
    changed = await to_thread.run_sync(accounts.users.get, user)
    if change.password is not None:
        password = change.password.get_secret_value()
        changed = await accounts.hashing(lambda: accounts.users.set_password(user, password))
        await to_thread.run_sync(accounts.trail.note, "password-changed", asker.actor, address, changed.name)
    if change.role is not None:
        changed = await to_thread.run_sync(accounts.users.set_role, user, change.role)
        about = f"{changed.name}: {change.role}"
        await to_thread.run_sync(accounts.trail.note, "role-changed", asker.actor, address, about)
    return _user(changed)


@router.delete("/{user}", status_code=204, responses=_TAKEN)
def remove_user(request: Request, here: Here, asker: Asker, user: IdInPath) -> None:
    """Remove a user, whose sessions end. API keys that the user made stay."""
    gone = here.accounts.users.remove(user)
    here.accounts.trail.note("user-removed", asker.actor, request.state.address, gone.name)


@router.delete("/{user}/sessions", status_code=204)
def end_sessions(request: Request, here: Here, asker: Asker, user: IdInPath) -> None:
    """Let a user have to sign in again, everywhere."""
    name = here.accounts.users.get(user).name
    here.accounts.sessions.end_all(user)
    here.accounts.trail.note("sessions-ended", asker.actor, request.state.address, name)


def _user(user: users.User) -> User:
    return User(
        id=user.id,
        name=user.name,
        role=user.role,
        created=moment(user.created),
        last_login=moment(user.last_login),
        sessions=user.sessions,
    )
