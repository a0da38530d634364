"""Who may sign in."""

from __future__ import annotations

import re
import sqlite3
import time

from msgspec import Struct

from vultus.server import passwords
from vultus.server.errors import LastAdmin, NameInUse, UnknownUser
from vultus.server.roles import Role
from vultus.server.store import Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_COLUMNS = "id, name, role, created, last_login, (SELECT count(*) FROM sessions WHERE user = users.id)"


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may sign in."""

    id: int
    name: str
    role: Role
    created: float
    last_login: float | None
    sessions: int
    """How often signed in now."""


class Users:
    """All of them. For any thread, and for several processes at once; what takes a password takes a quarter of a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nobody: str | None = None

    def any(self) -> bool:
        """Whether there are some, and so everybody has to sign in."""
        with self._store.read() as connection:
            return connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None

    def all(self) -> list[User]:
        """By name."""
        with self._store.read() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY name").fetchall()  # noqa: S608
        return [_user(row) for row in rows]

    def get(self, who: int | str) -> User:
        """By number or by name. Raises UnknownUser (a KeyError)."""
        with self._store.read() as connection:
            return _found(connection, who)

    def add(self, name: str, role: Role, password: str) -> User:
        """Raises ValueError (WeakPassword, NameInUse, LastAdmin if the first user is to be no admin)."""
        if not NAME.fullmatch(name):
            raise ValueError("a user's name has 1 to 64 letters and digits (A-Z, 0-9) and . _ @ - between them")
        passwords.demand_strong(password, name)
        hashed = passwords.hashed(password, passwords.PASSWORDS)
        with self._store.write() as connection:
            if role != "admin" and not _admins(connection):
                raise LastAdmin("the first user has to be an admin, who can then add others")
            try:
                connection.execute(
                    "INSERT INTO users (name, role, password, created) VALUES (?, ?, ?, ?)",
                    (name, role, hashed, time.time()),
                )
            except sqlite3.IntegrityError:
                raise NameInUse(f"there is a user {name} already") from None
            return _found(connection, name)

    def check(self, name: str, password: str) -> User | None:
        """The user whose name and password these are. It takes as long if there is no such user."""
        with self._store.read() as connection:
            row = connection.execute("SELECT id, password FROM users WHERE name = ?", (name,)).fetchone()
        if row is None:
            if self._nobody is None:
                self._nobody = passwords.hashed("nobody's", passwords.PASSWORDS)
            passwords.matches(password, self._nobody)
            return None
        number, stored = row
        if not passwords.matches(password, stored):
            return None
        again = (
            passwords.hashed(password, passwords.PASSWORDS)
            if passwords.outdated(stored, passwords.PASSWORDS)
            else stored
        )
        with self._store.write() as connection:
            connection.execute(
                "UPDATE users SET last_login = ?, password = iif(password = ?, ?, password) WHERE id = ?",
                (time.time(), stored, again, number),
            )
            return _found(connection, number)

    def set_password(self, who: int | str, password: str) -> User:
        """Give a new password; all sessions of the user end. Raises UnknownUser, WeakPassword."""
        user = self.get(who)
        passwords.demand_strong(password, user.name)
        hashed = passwords.hashed(password, passwords.PASSWORDS)
        with self._store.write() as connection:
            connection.execute("UPDATE users SET password = ? WHERE id = ?", (hashed, user.id))
            connection.execute("DELETE FROM sessions WHERE user = ?", (user.id,))
            return _found(connection, user.id)

    def set_role(self, who: int | str, role: Role) -> User:
        """Give another role; all sessions of the user end. Raises UnknownUser, LastAdmin."""
        with self._store.write() as connection:
            user = _found(connection, who)
            connection.execute("UPDATE users SET role = ? WHERE id = ?", (role, user.id))
            _demand_admin(connection)
            connection.execute("DELETE FROM sessions WHERE user = ?", (user.id,))
            return _found(connection, user.id)

    def remove(self, who: int | str) -> User:
        """Remove a user with all sessions, and return who that was. Raises UnknownUser, LastAdmin."""
        with self._store.write() as connection:
            user = _found(connection, who)
            connection.execute("DELETE FROM users WHERE id = ?", (user.id,))
            _demand_admin(connection)
            return user


def _found(connection: sqlite3.Connection, who: int | str) -> User:
    column = "id" if isinstance(who, int) else "name"
    row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE {column} = ?", (who,)).fetchone()  # noqa: S608
    if row is None:
        raise UnknownUser(f"there is no user {who}")
    return _user(row)


def _user(row: tuple[int, str, Role, float, float | None, int]) -> User:
    number, name, role, created, last_login, sessions = row
    return User(id=number, name=name, role=role, created=created, last_login=last_login, sessions=sessions)


def _admins(connection: sqlite3.Connection) -> int:
    (many,) = connection.execute("SELECT count(*) FROM users WHERE role = 'admin'").fetchone()
    return int(many)


def _demand_admin(connection: sqlite3.Connection) -> None:
    if not _admins(connection):
        raise LastAdmin("this is the only admin; make another one first")
