"""What is deleted because it is old. Runs inside the caller's transaction."""

from __future__ import annotations

from msgspec import Struct

from vultus.configs.schema import Retention as Rules
from vultus.index import journal
from vultus.index.people import after_removal
from vultus.index.storage import Connection, Writer

_DAY = 86400.0


class Pruned(Struct, frozen=True, kw_only=True):
    """How many there were of what is gone."""

    shots: int = 0
    """Pictures of sightings, those that went with their sighting among them."""
    sightings: int = 0
    strangers: int = 0
    """Faces of unknown people, seen by cameras."""
    changes: int = 0
    """Rows of the journal."""

    def __bool__(self) -> bool:
        return any((self.shots, self.sightings, self.strangers, self.changes))


def prune(connection: Connection, writer: Writer, rules: Rules, now: float) -> Pruned:
    """Delete what is older than `rules` say, at `now`, in seconds since the epoch."""
    shots = sightings = strangers = changes = 0
    if rules.shots_days is not None:
        shots = _deleted(connection, "DELETE FROM shots WHERE time < ?", now - rules.shots_days * _DAY)
    if rules.sightings_days is not None:
        before = now - rules.sightings_days * _DAY
        shots += _deleted(
            connection, "DELETE FROM shots WHERE sighting IN (SELECT id FROM sightings WHERE time < ?)", before
        )
        sightings = _deleted(connection, "DELETE FROM sightings WHERE time < ?", before)
    if rules.strangers_days is not None:
        strangers = _forget_strangers(connection, writer, now - rules.strangers_days * _DAY)
    if rules.journal_days is not None:
        changes = journal.prune(connection, now - rules.journal_days * _DAY)
    return Pruned(shots=shots, sightings=sightings, strangers=strangers, changes=changes)


def _deleted(connection: Connection, statement: str, before: float) -> int:
    return connection.execute(statement, (before,)).rowcount


def _forget_strangers(connection: Connection, writer: Writer, before: float) -> int:
    """Delete what cameras and videos that were watched kept of people without a name; archives keep theirs."""
    rows = connection.execute(
        "DELETE FROM faces WHERE file IS NULL AND time < ? "
        "AND identity IN (SELECT id FROM identities WHERE name IS NULL) RETURNING id, identity",
        (before,),
    ).fetchall()
    owners: dict[int, int | None] = dict(rows)
    if owners:
        after_removal(connection, writer, owners)
    return len(owners)
