"""`vultus users`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from vultus.cli.console import line, print_json, say, table, utc
from vultus.cli.options import config_option, json_option
from vultus.configs.loader import load, server_folder
from vultus.index.audit import os_user
from vultus.server import passwords
from vultus.server.roles import ROLES, Role
from vultus.server.store import Store
from vultus.server.trail import Trail
from vultus.server.users import User, Users

_VIA = "command line"
_role_choice = click.Choice(ROLES)


@click.group()
def users() -> None:
    """Who may sign in at the server (`vultus serve`), which need not be stopped for this.

    \b
    viewer    looks and searches
    operator  also names, enrols, merges, and works with cameras
    admin     everything

    While there are no users, whoever sits at this machine may do everything, and nobody else may do anything. The first user
    has to be an admin; from then on everybody has to sign in.
    """


@users.command()
@click.argument("name")
@click.option("--role", type=_role_choice, required=True, help="What the user may do.")
@config_option
@json_option
def add(name: str, role: Role, config_file: Path | None, as_json: bool) -> None:
    """Add a user. The password is asked for, or is the first line of standard input."""
    with _opened(config_file) as (known, trail):
        user = known.add(name, role, _password(name))
        trail.note("user-added", os_user(), _VIA, user.name)
        if as_json:
            print_json(_shown(user))
        else:
            say(f"{user.name} may sign in, as {user.role}")


@users.command(name="list")
@config_option
@json_option
def list_users(config_file: Path | None, as_json: bool) -> None:
    """Who may sign in, and who is."""
    with _opened(config_file) as (known, _):
        everybody = known.all()
    if as_json:
        print_json([_shown(user) for user in everybody])
        return
    if not everybody:
        say("no users: whoever sits at this machine may do everything (`vultus users add NAME --role admin`)")
        return
    rows = [(user.name, user.role, _when(user.created), _when(user.last_login), user.sessions) for user in everybody]
    table("", ("name", "role", "added", "last signed in", ">sessions"), rows)


@users.command()
@click.argument("name")
@config_option
def passwd(name: str, config_file: Path | None) -> None:
    """Give a user a new password. It is asked for, or the first line of standard input; all sessions of that user end."""
    with _opened(config_file) as (known, trail):
        user = known.get(name)
        known.set_password(user.id, _password(user.name))
        trail.note("password-changed", os_user(), _VIA, user.name)
        say(f"{user.name} has a new password and has to sign in again")


@users.command()
@click.argument("name")
@click.argument("role", type=_role_choice)
@config_option
def role(name: str, role: Role, config_file: Path | None) -> None:
    """Give a user another role. All sessions of that user end."""
    with _opened(config_file) as (known, trail):
        user = known.set_role(name, role)
        trail.note("role-changed", os_user(), _VIA, f"{user.name}: {role}")
        say(f"{user.name} is {role} now and has to sign in again")


@users.command()
@click.argument("name")
@config_option
def remove(name: str, config_file: Path | None) -> None:
    """Remove a user, whose sessions end. The last admin stays."""
    with _opened(config_file) as (known, trail):
        user = known.remove(name)
        trail.note("user-removed", os_user(), _VIA, user.name)
        line(f"{user.name} is removed")


@contextmanager
def _opened(config_file: Path | None) -> Iterator[tuple[Users, Trail]]:
    store = Store(server_folder(load(config_file)))
    try:
        yield Users(store), Trail(store)
    finally:
        store.close()


def _password(name: str) -> str:
    """Never from an argument: other users of the machine see those."""
    if sys.stdin.isatty():
        given: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return given
    return sys.stdin.readline(4 * passwords.MOST + 2).rstrip("\r\n")


def _when(seconds: float | None) -> str:
    return "never" if seconds is None else utc(seconds)


def _shown(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "created": user.created,
        "last_login": user.last_login,
        "sessions": user.sessions,
    }
