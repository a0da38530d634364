"""What happened to accounts: who signed in, who tried, which users and keys were made, changed and removed.

Searches and changes of the gallery are in the gallery's own audit log.
"""

from __future__ import annotations

import time
from typing import Literal

from msgspec import Struct

from vultus.server.store import Store

What = Literal[
    "login",
    "login-failed",
    "logout",
    "sessions-ended",
    "password-changed",
    "user-added",
    "user-removed",
    "role-changed",
    "key-made",
    "key-removed",
    "key-refused",
]
_MOST = 100_000
"""Entries that are kept, so that nobody fills the disk by signing in."""


class Happening(Struct, frozen=True, kw_only=True):
    """An entry."""

    id: int
    at: float
    actor: str
    """Who did it; of a login that failed, who they said they were."""
    address: str
    what: What
    about: str
    """The user or key that was changed."""


class Trail:
    """The entries. For any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, what: What, actor: str, address: str, about: str = "") -> None:
        """Add an entry; it is on the disk when this returns."""
        with self._store.write() as connection:
            entry = (time.time(), actor, address, what, about)
            added = connection.execute(
                "INSERT INTO security (at, actor, address, what, about) VALUES (?, ?, ?, ?, ?)", entry
            )
            connection.execute("DELETE FROM security WHERE id <= ?", ((added.lastrowid or 0) - _MOST,))

    def page(self, limit: int, before: int | None = None) -> list[Happening]:
        """The newest entries, or the newest before one with that number; newest first."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT id, at, actor, address, what, about FROM security WHERE id < ? ORDER BY id DESC LIMIT ?",
                (before if before is not None else 1 << 62, limit),
            ).fetchall()
        return [
            Happening(id=number, at=at, actor=actor, address=address, what=what, about=about)
            for number, at, actor, address, what, about in rows
        ]
