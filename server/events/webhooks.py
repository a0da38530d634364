"""Webhooks that are kept: who is told of what, how far each is, and what could not be delivered.

A webhook is a cursor in the event log. Everything up to it is settled: delivered, or noted among the dead letters; so what
waits survives whatever happens to the server, and costs nothing meanwhile.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from vultus.configs.address import redact
from vultus.configs.serving import Webhooks as Rules
from vultus.server.events import posting
from vultus.server.events.log import EventLog, Kind, Wanted
from vultus.server.events.posting import Answer
from vultus.server.events.signing import new_secret
from vultus.server.problems import Problem
from vultus.server.store import Store
from vultus.server.vault import Vault
from vultus.stages.reach import Forbidden

MAX_WEBHOOKS = 100
_REFUSALS = 8
"""Attempts after which what a receiver refuses is a dead letter, so that the next ones come through."""

_REMEMBERED = 50
"""Attempts of a webhook that are kept in memory."""


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook as it is."""

    id: int
    title: str
    place: str
    """Its address without what is secret in it."""
    wanted: Wanted
    enabled: bool
    created: float
    cursor: int
    attempts: int
    """Failed ones for the next event."""
    due: float
    """When it is tried again."""
    missed: int
    """Events that were deleted from the log before it got them."""
    last_at: float | None
    last_status: int | None
    last_reason: str | None


class Dead(Struct, frozen=True):
    """A dead letter."""

    event: int
    reason: str
    attempts: int
    at: float
    again: bool
    """Whether it is about to be tried again."""


class Attempt(Struct, frozen=True):
    """One attempt to deliver."""

    at: float
    event: int | None
    """None: a ping."""
    answer: Answer


class Webhooks:
    """All webhooks. Methods may be called from any thread."""

    def __init__(self, store: Store, vault: Vault, log: EventLog, rules: Rules) -> None:
        self._store, self._vault, self._events, self._rules = store, vault, log, rules
        self._attempts: dict[int, deque[Attempt]] = {}

    def all(self) -> list[Webhook]:
        """Every webhook, the oldest first."""
        with self._store.read() as connection:
            return [_webhook(row) for row in connection.execute(f"{_SELECT} ORDER BY id")]

    def get(self, number: int) -> Webhook:
        """A webhook. Raises Problem (404)."""
        with self._store.read() as connection:
            row = connection.execute(f"{_SELECT} WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise Problem(404, "unknown-webhook", f"There is no webhook {number}.")
        return _webhook(row)

    def add(
        self, title: str, url: str, kinds: Sequence[Kind], rules: Sequence[int], *, enabled: bool
    ) -> tuple[int, str]:
        """Keep a webhook, for events from now on; returns its number and its secret. Raises Problem (409, 422)."""
        self._check(url)
        secret = new_secret()
        with self._store.write() as connection:
            if connection.execute("SELECT count(*) FROM webhooks").fetchone()[0] >= MAX_WEBHOOKS:
                raise Problem(409, "too-many-webhooks", f"There may be {MAX_WEBHOOKS} webhooks.")
            wanted = Wanted(kinds=tuple(kinds), rules=tuple(rules))
            try:
                (number,) = connection.execute(
                    "INSERT INTO webhooks (title, place, wanted, enabled, created, cursor) VALUES (?, ?, ?, ?, ?, ?) "
                    "RETURNING id",
                    (
                        title,
                        redact(url),
                        msgspec.json.encode(wanted).decode(),
                        enabled,
                        time.time(),
                        self._events.newest,
                    ),
                ).fetchone()
            except sqlite3.IntegrityError:
                raise _taken(title) from None
            self._vault.keep(connection, f"webhook/{number}/url", url)
            self._vault.keep(connection, f"webhook/{number}/secret", secret)
        return number, secret

    def change(
        self, number: int, *, title: str | None, url: str | None, wanted: Wanted | None, enabled: bool | None
    ) -> None:
        """Change what is not None. What happened while it was off is not delivered. Raises Problem (404, 409, 422)."""
        former = self.get(number)
        if url is not None and url != former.place:
            self._check(url)
        with self._store.write() as connection:
            if url is not None and url != former.place:
                connection.execute("UPDATE webhooks SET place = ? WHERE id = ?", (redact(url), number))
                self._vault.keep(connection, f"webhook/{number}/url", url)
            if enabled is True and not former.enabled:
                connection.execute("UPDATE webhooks SET cursor = ? WHERE id = ?", (self._events.newest, number))
            try:
                connection.execute(
                    "UPDATE webhooks SET title = ?, wanted = ?, enabled = ?, attempts = 0, due = 0 WHERE id = ?",
                    (
                        former.title if title is None else title,
                        msgspec.json.encode(former.wanted if wanted is None else wanted).decode(),
                        former.enabled if enabled is None else enabled,
                        number,
                    ),
                )
            except sqlite3.IntegrityError:
                raise _taken(title or "") from None

    def new_secret(self, number: int) -> str:
        """Give it another secret, from the next attempt on. Raises Problem (404)."""
        self.get(number)
        secret = new_secret()
        with self._store.write() as connection:
            self._vault.keep(connection, f"webhook/{number}/secret", secret)
        return secret

    def remove(self, number: int) -> None:
        """Forget a webhook with its dead letters. Raises Problem (404)."""
        self.get(number)
        with self._store.write() as connection:
            connection.execute("DELETE FROM webhooks WHERE id = ?", (number,))
            self._vault.forget(connection, f"webhook/{number}/url")
            self._vault.forget(connection, f"webhook/{number}/secret")
        self._attempts.pop(number, None)

    def reveal(self, number: int) -> tuple[str, str]:
        """Address and secret, for whoever sends. Raises KeyError, VaultError."""
        return self._vault.reveal(f"webhook/{number}/url"), self._vault.reveal(f"webhook/{number}/secret")

    def waiting(self, webhook: Webhook) -> int:
        """How many events wait for it, counted up to 10,000."""
        return self._events.count(webhook.cursor, 10_000, webhook.wanted)

    def due(self) -> dict[int, float]:
        """When each webhook that has something to be told wants it, in seconds since the epoch."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT id, due FROM webhooks WHERE enabled AND (cursor < ? OR EXISTS "
                "(SELECT 1 FROM dead_letters WHERE webhook = webhooks.id AND again))",
                (self._events.newest,),
            ).fetchall()
        return dict(rows)

    # What becomes of deliveries

    def remember(self, number: int, event: int | None, answer: Answer) -> None:
        """An attempt was made, with an event or (none) a ping."""
        self._attempts.setdefault(number, deque(maxlen=_REMEMBERED)).appendleft(Attempt(time.time(), event, answer))

    def attempts(self, number: int) -> list[Attempt]:
        """The last attempts since the server began, the newest first. Raises Problem (404)."""
        self.get(number)
        return list(self._attempts.get(number, ()))

    def passed(self, number: int, cursor: int, missed: int = 0) -> None:
        """Everything up to the cursor is settled; `missed` events of it were not there any more."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE webhooks SET cursor = ?, missed = missed + ? WHERE id = ?", (cursor, missed, number)
            )

    def delivered(self, number: int, event: int, answer: Answer) -> None:
        """The next event was taken."""
        with self._store.write() as connection:
            _noted(connection, number, answer)
            connection.execute(
                "UPDATE webhooks SET cursor = ?, attempts = 0, due = 0 WHERE id = ? AND cursor < ?",
                (event, number, event),
            )

    def failed(self, number: int, event: int, answer: Answer, pause: float) -> None:
        """The next event was not taken: it is tried again, or becomes a dead letter for the next ones' sake.

        If the receiver is away, so do all that have waited for as long as `give_up_after`.
        """
        webhook = self.get(number)
        attempts, now = webhook.attempts + 1, time.time()
        dead: list[int] = []
        if answer.outcome in ("refused", "gone"):
            dead = [event] if attempts >= _REFUSALS or answer.outcome == "gone" else []
        else:
            rows = self._events.after(webhook.cursor, 1000, webhook.wanted).rows
            dead = [row.id for row in rows if row.written < now - self._rules.give_up_after]
        with self._store.write() as connection:
            _noted(connection, number, answer)
            connection.executemany(
                "INSERT OR REPLACE INTO dead_letters (webhook, event, reason, attempts, at) VALUES (?, ?, ?, ?, ?)",
                [(number, one, answer.reason, attempts if one == event else 0, now) for one in dead],
            )
            gone_on = bool(dead) and answer.outcome != "away"
            connection.execute(
                "UPDATE webhooks SET cursor = max(cursor, ?), attempts = ?, due = ?, enabled = enabled AND ? WHERE id = ?",
                (
                    max(dead, default=0),
                    0 if gone_on else attempts,
                    0 if gone_on else now + pause,
                    answer.outcome != "gone",
                    number,
                ),
            )

    # Dead letters

    def dead(self, number: int, limit: int, before: int | None) -> list[Dead]:
        """Dead letters of a webhook, newest event first, those below `before`. Raises Problem (404)."""
        self.get(number)
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT event, reason, attempts, at, again FROM dead_letters WHERE webhook = ?1 "
                "AND (?2 IS NULL OR event < ?2) ORDER BY event DESC LIMIT ?3",
                (number, before, limit),
            ).fetchall()
        return [Dead(event, reason, attempts, at, bool(again)) for event, reason, attempts, at, again in rows]

    def dead_count(self, number: int) -> int:
        """How many dead letters a webhook has."""
        with self._store.read() as connection:
            row = connection.execute("SELECT count(*) FROM dead_letters WHERE webhook = ?", (number,)).fetchone()
        return int(row[0])

    def redeliver(self, number: int, events: Sequence[int] | None) -> int:
        """Let dead letters (none: all) be tried once more, soon; returns how many. Raises Problem (404)."""
        self.get(number)
        chosen = None if events is None else msgspec.json.encode(events).decode()
        with self._store.write() as connection:
            count = connection.execute(
                "UPDATE dead_letters SET again = 1 WHERE webhook = ?1 "
                "AND (?2 IS NULL OR event IN (SELECT value FROM json_each(?2)))",
                (number, chosen),
            ).rowcount
            connection.execute("UPDATE webhooks SET due = 0 WHERE id = ?", (number,))
        return count

    def next_dead(self, number: int) -> Dead | None:
        """The oldest dead letter that is to be tried again."""
        with self._store.read() as connection:
            row = connection.execute(
                "SELECT event, reason, attempts, at, again FROM dead_letters WHERE webhook = ? AND again "
                "ORDER BY event LIMIT 1",
                (number,),
            ).fetchone()
        return None if row is None else Dead(row[0], row[1], row[2], row[3], bool(row[4]))

    def tried_again(self, number: int, event: int, answer: Answer | None) -> None:
        """What became of a dead letter that was tried again (none: its event is not to be told any more)."""
        with self._store.write() as connection:
            if answer is not None:
                _noted(connection, number, answer)
            if answer is None or answer.outcome == "delivered":
                connection.execute("DELETE FROM dead_letters WHERE webhook = ? AND event = ?", (number, event))
                return
            connection.execute(
                "UPDATE dead_letters SET again = 0, attempts = attempts + 1, reason = ?, at = ? "
                "WHERE webhook = ? AND event = ?",
                (answer.reason, time.time(), number, event),
            )

    def _check(self, url: str) -> None:
        try:
            posting.checked(url, self._rules)
        except Forbidden as error:
            raise Problem(422, "address-refused", f"The address of a webhook: {error}.") from None


_SELECT = (
    "SELECT id, title, place, wanted, enabled, created, cursor, attempts, due, missed, last_at, last_status, last_reason "
    "FROM webhooks"
)


def log_name(store: Store) -> str:
    """A name of this log that no other server's has, made once."""
    with store.write() as connection:
        connection.execute("INSERT OR IGNORE INTO settings VALUES ('events.log', ?)", (secrets.token_hex(5),))
        (name,) = connection.execute("SELECT value FROM settings WHERE name = 'events.log'").fetchone()
    return str(name)


def _webhook(row: tuple[Any, ...]) -> Webhook:
    told = dict(zip(Webhook.__struct_fields__, row, strict=True))
    wanted = msgspec.json.decode(told["wanted"], type=Wanted)
    return Webhook(**{**told, "wanted": wanted, "enabled": bool(told["enabled"])})


def _noted(connection: sqlite3.Connection, number: int, answer: Answer) -> None:
    connection.execute(
        "UPDATE webhooks SET last_at = ?, last_status = ?, last_reason = ? WHERE id = ?",
        (time.time(), answer.status, answer.reason, number),
    )


def _taken(title: str) -> Problem:
    return Problem(409, "name-taken", f"There is a webhook {title!r} already.")
