"""Who is signed in: a random token in a browser's cookie, of which the table has only a digest."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import sqlite3
import time

from msgspec import Struct

from vultus.configs.serving import Sessions as Rules
from vultus.server.errors import UnknownUser
from vultus.server.roles import Principal
from vultus.server.store import Store

_MOST = 50
"""Sessions of one user; the oldest end."""
_NOTED = 60.0
"""A session's last use is written down so often, in seconds, at most."""


class Session(Struct, frozen=True, kw_only=True):
    """A session that was found by its token."""

    digest: bytes
    csrf: str
    """What requests that change something have to bring as a header; it follows from the token, which scripts cannot see."""
    expires: float
    """When it ends in any case."""
    seen: float

    def __repr__(self) -> str:
        return "Session(...)"


class Sessions:
    """All of them. For any thread."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store, self._rules = store, rules

    def begin(self, user: int) -> str:
        """A new session; return its token. Raises UnknownUser (a KeyError) for one who was removed meanwhile."""
        token, now = secrets.token_urlsafe(32), time.time()
        with self._store.write() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE seen < ? OR begun < ?", (now - self._rules.idle, now - self._rules.longest)
            )
            connection.execute(
                "DELETE FROM sessions WHERE digest IN "
                "(SELECT digest FROM sessions WHERE user = ? ORDER BY begun DESC LIMIT -1 OFFSET ?)",
                (user, _MOST - 1),
            )
            try:
                connection.execute(
                    "INSERT INTO sessions (digest, user, begun, seen) VALUES (?, ?, ?, ?)",
                    (_digest(token), user, now, now),
                )
            except sqlite3.IntegrityError:
                raise UnknownUser("the user was removed") from None
        return token

    def find(self, connection: sqlite3.Connection, token: str) -> tuple[Principal, Session] | None:
        """Whose session a token is, if it has not ended."""
        digest, now = _digest(token), time.time()
        row = connection.execute(
            "SELECT begun, seen, users.id, name, role FROM sessions JOIN users ON users.id = user WHERE digest = ?",
            (digest,),
        ).fetchone()
        if row is None:
            return None
        begun, seen, user, name, role = row
        if now - seen > self._rules.idle or now - begun > self._rules.longest:
            return None
        who = Principal(kind="user", id=user, name=name, role=role)
        csrf = base64.urlsafe_b64encode(hmac.digest(token.encode(), b"csrf", "sha256")).decode().rstrip("=")
        return who, Session(digest=digest, csrf=csrf, expires=begun + self._rules.longest, seen=seen)

    def used(self, session: Session) -> None:
        """Write down that it was used just now."""
        with self._store.write() as connection:
            connection.execute("UPDATE sessions SET seen = ? WHERE digest = ?", (time.time(), session.digest))

    def stale(self, session: Session) -> bool:
        """Whether it is time to do so again."""
        return time.time() - session.seen > min(_NOTED, self._rules.idle / 4)

    def end(self, token: str) -> None:
        """End the session with this token, if there is one."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM sessions WHERE digest = ?", (_digest(token),))

    def end_all(self, user: int) -> None:
        """End every session of a user."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM sessions WHERE user = ?", (user,))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()  # of 256 random bits: nothing slower is needed
