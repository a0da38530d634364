"""The acts of users that can be undone: what each did, written down in the transaction that did it.

An act has numbers of people, faces and sightings, and the names that it took away, nothing else. `forget` strikes out
whatever is said of somebody who is deleted. `vultus.index.undo` reads an act backwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from vultus.index import journal
from vultus.index.storage import Connection
from vultus.index.types import Act

_MOST = 1000
"""Acts that are remembered; older ones cannot be undone any more."""

Runs = tuple[tuple[int, int], ...]
"""First and last of each unbroken run of numbers."""


class _Detail(Struct, frozen=True, kw_only=True, tag_field="kind"):
    def people(self) -> set[int]:
        """The people whom the act is about."""
        return {number for field in self.__struct_fields__ if field in _PEOPLE for number in [getattr(self, field)]}

    def renumbered(self, before: int, after: int) -> _Detail:
        """The same act about a person who has another number now."""
        changes = {
            field: after for field in self.__struct_fields__ if field in _PEOPLE and getattr(self, field) == before
        }
        return msgspec.structs.replace(self, **changes)


_PEOPLE = ("identity", "other")


class Merge(_Detail, frozen=True, kw_only=True, tag="merge"):
    """`other` became part of `identity`."""

    identity: int
    other: int
    name: str | None
    created: float
    hidden: bool
    faces: Runs
    sightings: Runs
    denied_faces: Runs = ()
    denied_people: tuple[int, ...] = ()
    """Who or what `other` had been said not to be."""
    given_faces: Runs = ()
    given_people: tuple[int, ...] = ()
    """Of these, what was news for `identity`."""
    struck_faces: Runs = ()
    """Faces of `other` that `identity` had been said not to be."""

    def renumbered(self, before: int, after: int) -> Merge:
        """The same act about a person who has another number now, or that names this one."""
        denied, given = (
            tuple(after if person == before else person for person in people)
            for people in (self.denied_people, self.given_people)
        )
        changes = {field: after for field in _PEOPLE if getattr(self, field) == before}
        return msgspec.structs.replace(self, denied_people=denied, given_people=given, **changes)


class Split(_Detail, frozen=True, kw_only=True, tag="split"):
    """Some faces of `identity` became the new person `other`."""

    identity: int
    other: int
    name: str | None
    faces: Runs


class Move(_Detail, frozen=True, kw_only=True, tag="move"):
    """Faces, and the sightings that are of the same look, went to `identity`; 0 is nobody."""

    identity: int
    faces: dict[int, Runs]
    """By the owner before."""
    sightings: dict[int, Runs]
    struck_faces: Runs = ()
    """Of the faces those that `identity` had been said not to be."""
    made: bool = False
    """Whether `identity` was made for it."""

    def people(self) -> set[int]:
        """The people whom the act is about."""
        return ({self.identity} | self.faces.keys() | self.sightings.keys()) - {0}

    def renumbered(self, before: int, after: int) -> Move:
        """The same act about a person who has another number now."""

        def owners(runs: dict[int, Runs]) -> dict[int, Runs]:
            return {after if person == before else person: those for person, those in runs.items()}

        identity = after if self.identity == before else self.identity
        return msgspec.structs.replace(
            self, identity=identity, faces=owners(self.faces), sightings=owners(self.sightings)
        )


class Name(_Detail, frozen=True, kw_only=True, tag="name"):
    """An unknown person got a name."""

    identity: int
    name: str


class Rename(_Detail, frozen=True, kw_only=True, tag="rename"):
    """A person got another name."""

    identity: int
    before: str
    name: str


class Hide(_Detail, frozen=True, kw_only=True, tag="hide"):
    """A person was hidden."""

    identity: int


class Show(_Detail, frozen=True, kw_only=True, tag="show"):
    """A person is no longer hidden."""

    identity: int


Detail = Merge | Split | Move | Name | Rename | Hide | Show

_decoder = msgspec.json.Decoder(Detail)


def record(connection: Connection, detail: Detail) -> None:
    """Write an act down, inside the transaction that did it."""
    row = connection.execute(
        "INSERT INTO acts (kind, at, detail) VALUES (?, ?, ?) RETURNING id",
        (kind_of(detail), time.time(), _packed(detail)),
    ).fetchone()
    connection.execute("DELETE FROM acts WHERE id <= ?", (row[0] - _MOST,))


def recorded(connection: Connection, limit: int | None = None, kind: str | None = None) -> Iterator[tuple[Act, Detail]]:
    """Yield the acts, of one kind or all, the newest first, in the words of today's names."""
    rows = connection.execute(
        "SELECT id, at, detail, undone FROM acts WHERE ?1 IS NULL OR kind = ?1 ORDER BY id DESC LIMIT ?2",
        (kind, _MOST if limit is None else limit),
    ).fetchall()
    details = [_decoder.decode(packed) for _, _, packed, _ in rows]
    about = json.dumps(sorted({person for detail in details for person in detail.people()}))
    names: dict[int, str | None] = dict(
        connection.execute(
            "SELECT id, name FROM identities WHERE id IN (SELECT value FROM json_each(?))", (about,)
        ).fetchall()
    )
    for (number, at, _, undone), detail in zip(rows, details, strict=True):
        act = Act(id=number, kind=kind_of(detail), at=at, undone=undone, summary=_summary(detail, names))
        yield act, detail


def mark_undone(connection: Connection, act: Act) -> float:
    """Note that an act is undone; return when."""
    now = time.time()
    connection.execute("UPDATE acts SET undone = ? WHERE id = ?", (now, act.id))
    return now


def renumber(connection: Connection, before: int, after: int) -> None:
    """Let every act about the person `before`, or that names it, say `after`, the same one's new number."""
    for act, detail in recorded(connection):
        now = detail.renumbered(before, after)
        if now != detail:
            connection.execute("UPDATE acts SET detail = ? WHERE id = ?", (_packed(now), act.id))


def forget(connection: Connection, person: int) -> None:
    """Strike out the acts about a person, and about those who had become part of this one."""
    about = {person}
    for act, detail in recorded(connection):
        if about & detail.people():
            connection.execute("DELETE FROM acts WHERE id = ?", (act.id,))
            if isinstance(detail, Merge) and detail.identity in about and act.undone is None:
                about.add(detail.other)


def packed_runs(numbers: Iterable[int]) -> Runs:
    """Numbers as runs."""
    return tuple((first, last) for first, last, _ in journal.runs(sorted(numbers)))


def unpacked(runs: Runs) -> list[int]:
    """The numbers of runs."""
    return [number for first, last in runs for number in range(first, last + 1)]


def kind_of(detail: Detail) -> str:
    """The kind of an act."""
    return str(detail.__struct_config__.tag)


def _packed(detail: _Detail) -> str:
    return msgspec.json.encode(detail).decode()


def called(number: int, name: str | None) -> str:
    """What a person is called in a message."""
    return f"unknown {number}" if name is None else f"{name} ({number})"


def _count(runs: Iterable[tuple[int, int]]) -> str:
    faces = sum(last - first + 1 for first, last in runs)
    return f"{faces} face{'' if faces == 1 else 's'}"


def _summary(detail: Detail, names: dict[int, str | None]) -> str:
    def who(person: int) -> str:
        return called(person, names[person]) if person in names else f"person {person}"

    match detail:
        case Merge():
            return f"{called(detail.other, detail.name)} with {_count(detail.faces)} into {who(detail.identity)}"
        case Split():
            return f"{_count(detail.faces)} of {who(detail.identity)} became {who(detail.other)}"
        case Move():
            moved = _count(run for runs in detail.faces.values() for run in runs)
            return f"{moved} to {who(detail.identity) if detail.identity else 'nobody'}"
        case Name():
            return f"unknown {detail.identity} is {detail.name}"
        case Rename():
            return f"{called(detail.identity, detail.before)} is now {detail.name}"
        case Hide() | Show():
            return who(detail.identity)
