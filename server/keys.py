"""API keys: `vk_ID_SECRET`, shown once, for programs."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Collection

from msgspec import Struct

from vultus.server import passwords
from vultus.server.errors import NameInUse, UnknownKey
from vultus.server.roles import AREAS, Area, Principal, Role
from vultus.server.store import Store

KEY = re.compile(r"vk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOTED = 60.0
"""A key's last use is written down so often, in seconds, at most."""
_REMEMBERED = 1000


class Key(Struct, frozen=True, kw_only=True):
    """What is known of a key; not its secret."""

    id: str
    name: str
    role: Role
    areas: tuple[Area, ...]
    created: float
    created_by: str
    expires: float | None
    last_used: float | None
    last_address: str | None


class Found(Struct, frozen=True, kw_only=True):
    """A key that a request brought and that is good."""

    principal: Principal
    stale: bool
    """Whether its last use should be written down again."""


class Keys:
    """All of them. For any thread, but `remembered` and `found`, which are the event loop's.

    A key is hashed like a password. So that not every request takes as long, keys that were right are remembered by a
    digest with a secret of this process, which is looked up first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}

    def make(
        self, name: str, role: Role, areas: Collection[Area], by: str, expires: float | None = None
    ) -> tuple[Key, str]:
        """A new key and its text, which is not to be had again. Raises NameInUse (a ValueError)."""
        number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        listed = ",".join(area for area in AREAS if area in areas)
        row = (number, name, role, listed, passwords.hashed(secret, passwords.KEYS), time.time(), by, expires)
        with self._store.write() as connection:
            try:
                connection.execute(
                    "INSERT INTO keys (id, name, role, areas, secret, created, created_by, expires) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
            except sqlite3.IntegrityError:
                raise NameInUse(f"there is a key {name} already") from None
        return self.get(number), f"vk_{number}_{secret}"

    def all(self) -> list[Key]:
        """By name."""
        return self._rows("ORDER BY name", ())

    def get(self, number: str) -> Key:
        """By its number. Raises UnknownKey (a KeyError)."""
        rows = self._rows("WHERE id = ?", (number,))
        if not rows:
            raise UnknownKey(f"there is no key {number}")
        return rows[0]

    def remove(self, number: str) -> Key:
        """End it: the next request with it is refused. Raises UnknownKey (a KeyError)."""
        key = self.get(number)
        with self._store.write() as connection:
            connection.execute("DELETE FROM keys WHERE id = ?", (number,))
        return key

    def used(self, number: str, address: str) -> None:
        """Write down that it was used just now, and from where."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE keys SET last_used = ?, last_address = ? WHERE id = ?", (time.time(), address, number)
            )

    def remembered(self, text: str) -> bool:
        """Whether this very key was right before."""
        match = KEY.fullmatch(text)
        return match is not None and hmac.compare_digest(self._right.get(match[1], b""), self._digest(text))

    def right(self, text: str) -> bool:
        """Whether there is such a key and it has this secret. It takes a twentieth of a second."""
        match = KEY.fullmatch(text)
        if match is None:
            return False
        with self._store.read() as connection:
            row = connection.execute("SELECT secret FROM keys WHERE id = ?", (match[1],)).fetchone()
        return row is not None and passwords.matches(match[2], row[0])

    def remember(self, text: str) -> None:
        """Let the next request with this key, which was right, be quick."""
        while len(self._right) >= _REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[text[3:19]] = self._digest(text)

    def find(self, connection: sqlite3.Connection, text: str) -> Found | None:
        """Who asks with a key whose secret is right; None if it was removed or has expired."""
        row = connection.execute(
            "SELECT id, name, role, areas, expires, last_used FROM keys WHERE id = ?", (text[3:19],)
        ).fetchone()
        if row is None:
            return None
        number, name, role, areas, expires, last_used = row
        now = time.time()
        if expires is not None and expires <= now:
            return None
        who = Principal(kind="key", id=number, name=name, role=role, areas=frozenset(areas.split(",")))
        return Found(principal=who, stale=last_used is None or now - last_used > _NOTED)

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode(), hashlib.sha256)

    def _rows(self, which: str, values: tuple[str, ...]) -> list[Key]:
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT id, name, role, areas, created, created_by, expires, last_used, last_address "  # noqa: S608
                f"FROM keys {which}",
                values,
            ).fetchall()
        return [
            Key(
                id=number,
                name=name,
                role=role,
                areas=tuple(areas.split(",")),
                created=created,
                created_by=by,
                expires=expires,
                last_used=used,
                last_address=address,
            )
            for number, name, role, areas, created, by, expires, used, address in rows
        ]
