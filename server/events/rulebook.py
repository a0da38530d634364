"""The rules that are kept, and what they make of sightings."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from vultus.index.gallery import Gallery
from vultus.index.types import Sighting
from vultus.server.events.log import New
from vultus.server.events.pump import seen
from vultus.server.events.rules import RuleNew
from vultus.server.problems import Problem
from vultus.server.store import Store

MAX_RULES = 1_000
_TRIED = 20_000
"""Sightings that a trial looks at, at most; the newest ones."""
_SHOWN = 200

Answer = TypeVar("Answer")
Sizes = Callable[[str], tuple[int, int] | None]
"""Width and height of a source's picture, if they are known."""


class Kept(Struct, frozen=True):
    """A rule with its number."""

    id: int
    created: float
    rule: RuleNew


class Trial(Struct, frozen=True):
    """What a rule would have made of the sightings of some time."""

    looked_at: int
    undecided: int
    """Sightings of which only the size of the camera's picture would tell."""
    matched: int
    alerts: int
    """Of those that matched: how many would have raised an alert, after the cooldown."""
    shown: list[tuple[Sighting, bool]]
    """The newest that matched, and whether they would have raised one."""


class Rulebook:
    """All rules. Methods may be called from any thread."""

    def __init__(self, store: Store, sizes: Sizes) -> None:
        self._store, self._sizes = store, sizes
        self._rules: list[Kept] | None = None

    def all(self) -> list[Kept]:
        """Every rule, the oldest first."""
        with self._store.read() as connection:
            return self._current(connection)

    def get(self, number: int) -> Kept:
        """A rule. Raises Problem (404)."""
        for kept in self.all():
            if kept.id == number:
                return kept
        raise Problem(404, "unknown-rule", f"There is no rule {number}.")

    def titled(self, title: str) -> Kept | None:
        """The rule of that title."""
        return next((kept for kept in self.all() if kept.rule.title == title), None)

    def add(self, rule: RuleNew) -> Kept:
        """Keep a rule. Raises Problem (409) if the title is taken or there are too many."""
        with self._store.write() as connection:
            if len(self._current(connection)) >= MAX_RULES:
                raise Problem(409, "too-many-rules", f"There may be {MAX_RULES} rules.")
            row: tuple[int, float] = _taken_or(
                lambda: connection.execute(
                    "INSERT INTO rules (title, rule, created) VALUES (?, ?, ?) RETURNING id, created",
                    (rule.title, rule.model_dump_json(), time.time()),
                ).fetchone(),
                rule,
            )
            self._rules = None
        return Kept(*row, rule)

    def put(self, number: int, rule: RuleNew) -> Kept:
        """Put another rule in the place of one. Raises Problem (404, 409)."""
        kept = self.get(number)
        with self._store.write() as connection:
            _taken_or(
                lambda: connection.execute(
                    "UPDATE rules SET title = ?, rule = ? WHERE id = ?", (rule.title, rule.model_dump_json(), number)
                ),
                rule,
            )
            self._rules = None
        return Kept(number, kept.created, rule)

    def remove(self, number: int) -> None:
        """Forget a rule; its alerts stay in the log. Raises Problem (404)."""
        self.get(number)
        with self._store.write() as connection:
            connection.execute("DELETE FROM rules WHERE id = ?", (number,))
            self._rules = None

    def alerts(self, connection: sqlite3.Connection, sighting: Sighting, key: str) -> list[New]:
        """Which alerts a sighting raises, by what the log of this transaction holds."""
        return [
            New(
                kind="alert",
                source=sighting.source,
                identity=sighting.identity,
                visit=key,
                rule=kept.id,
                time=sighting.time,
                payload={
                    "sighting": seen(sighting, update=False),
                    "alert": {"rule": kept.id, "title": kept.rule.title, "severity": kept.rule.severity},
                },
            )
            for kept in self._current(connection)
            if kept.rule.enabled
            and kept.rule.cover(sighting, self._sizes(sighting.source))
            and not _raised(connection, kept, sighting, key)
        ]

    def attempt(self, rule: RuleNew, gallery: Gallery, newest: int, since: float) -> Trial:
        """Try a rule on the sightings of a gallery since then; `newest` is the number of the newest one."""
        looked_at = undecided = matched = alerts = 0
        shown: list[tuple[Sighting, bool]] = []
        last: dict[tuple[str, int | None], float] = {}
        for sighting in _since(gallery, newest, since):
            looked_at += 1
            covered = rule.cover(sighting, self._sizes(sighting.source))
            undecided += covered is None
            if not covered:
                continue
            matched += 1
            who = (sighting.source, sighting.identity)
            raises = who not in last or sighting.time - last[who] >= rule.cooldown
            if raises:
                alerts += 1
                last[who] = sighting.time
            shown.append((sighting, raises))
        return Trial(looked_at, undecided, matched, alerts, shown[: -_SHOWN - 1 : -1])

    def _current(self, connection: sqlite3.Connection) -> list[Kept]:
        if self._rules is None:
            rows = connection.execute("SELECT id, created, rule FROM rules ORDER BY id").fetchall()
            self._rules = [Kept(number, created, RuleNew.model_validate_json(rule)) for number, created, rule in rows]
        return self._rules


def _raised(connection: sqlite3.Connection, kept: Kept, sighting: Sighting, key: str) -> bool:
    """Whether an alert of this rule was raised by this visit, or by the same person too short a time ago."""
    found = connection.execute(
        "SELECT 1 FROM events WHERE rule = ?1 AND visit = ?2 UNION ALL "
        "SELECT 1 FROM events WHERE rule = ?1 AND time > ?3 AND time <= ?4 AND source = ?5 AND identity IS ?6 LIMIT 1",
        (kept.id, key, sighting.time - kept.rule.cooldown, sighting.time, sighting.source, sighting.identity),
    ).fetchone()
    return found is not None


def _since(gallery: Gallery, newest: int, since: float) -> Iterable[Sighting]:
    found = gallery.sightings(max(0, newest - _TRIED), _TRIED)
    return sorted((one for one in found if one.time >= since and not one.hidden), key=lambda one: one.time)


def _taken_or(write: Callable[[], Answer], rule: RuleNew) -> Answer:
    try:
        return write()
    except sqlite3.IntegrityError:
        raise Problem(409, "name-taken", f"There is a rule {rule.title!r} already.") from None
