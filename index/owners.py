"""Whose a face is: people merged, split, named, hidden; faces given to somebody else.

Each function changes the tables, the journal and, unless it is to be a step of something larger, the acts, inside the
caller's transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from vultus.index import acts, journal, people
from vultus.index.acts import Runs, packed_runs
from vultus.index.errors import NameTaken, UnknownFace
from vultus.index.names import clean_name, folded
from vultus.index.storage import Connection, Writer

_IN = "IN (SELECT value FROM json_each(?))"


class Absorbed(Struct, frozen=True, kw_only=True):
    """What became of a person who is part of another now."""

    faces: Runs
    sightings: Runs
    given_faces: Runs
    given_people: tuple[int, ...]
    struck_faces: Runs


def merge(connection: Connection, writer: Writer, into: int | str, other: int | str) -> None:
    """Give faces and sightings of `other` to `into`; `other` is gone then."""
    target, kept = people.find(connection, into)
    former, name = people.find(connection, other)
    if target == former:
        raise ValueError(f"{acts.called(target, kept)} cannot be merged into the same person")
    if kept is None and name is not None:
        raise ValueError(f"{name!r} would lose the name; merge {target} into {former} instead")
    created, hidden = connection.execute("SELECT created, hidden FROM identities WHERE id = ?", (former,)).fetchone()
    denied_faces, denied_people = denials(connection, former)
    done = absorb(connection, writer, target, former)
    acts.record(
        connection,
        acts.Merge(
            identity=target,
            other=former,
            name=name,
            created=created,
            hidden=bool(hidden),
            faces=done.faces,
            sightings=done.sightings,
            denied_faces=packed_runs(denied_faces),
            denied_people=tuple(sorted(denied_people)),
            given_faces=done.given_faces,
            given_people=done.given_people,
            struck_faces=done.struck_faces,
        ),
    )


def absorb(connection: Connection, writer: Writer, target: int, former: int) -> Absorbed:
    """Make `former` part of `target`."""
    faces = _numbers(connection, "UPDATE faces SET identity = ? WHERE identity = ? RETURNING id", target, former)
    people.count(connection, {target: len(faces)})
    seen = _numbers(connection, "UPDATE sightings SET identity = ? WHERE identity = ? RETURNING id", target, former)
    denied_faces, denied_people = denials(connection, former)
    known_faces, known_people = denials(connection, target)
    new_faces, new_people = denied_faces - known_faces, denied_people - known_people - {target}
    deny(connection, target, new_faces, new_people)
    connection.execute(  # who is merged all the same has changed his mind
        "DELETE FROM denials WHERE identity = ? AND face IN (SELECT id FROM faces WHERE identity = ?)", (target, target)
    )
    connection.execute("DELETE FROM identities WHERE id = ?", (former,))
    journal.append(connection, writer, "merged", former, target, len(faces))
    return Absorbed(
        faces=packed_runs(faces),
        sightings=packed_runs(seen),
        given_faces=packed_runs(new_faces),
        given_people=tuple(sorted(new_people)),
        struck_faces=packed_runs(known_faces.intersection(faces)),
    )


def split(connection: Connection, writer: Writer, identity: int | str, faces: Sequence[int], name: str | None) -> int:
    """Make a new person of some faces of `identity`; return the number. Raises UnknownFace for one that is not there."""
    person, called = people.find(connection, identity)
    owners = _owners(connection, faces)
    strange = sorted(face for face, owner in owners.items() if owner != person)
    if strange:
        raise UnknownFace(f"face {strange[0]} is not one of {acts.called(person, called)}")
    (count,) = connection.execute("SELECT count(*) FROM faces WHERE identity = ?", (person,)).fetchone()
    if count == len(owners):
        raise ValueError(f"these are all {count} faces of {acts.called(person, called)}; nobody would be left")
    new = make(connection, name)
    hand_over(connection, writer, owners, new)
    deny(connection, person, (), [new])
    acts.record(connection, acts.Split(identity=person, other=new, name=name, faces=packed_runs(owners)))
    return new


def move(
    connection: Connection,
    writer: Writer,
    faces: Sequence[int],
    to: int | str | None,
    seen: Mapping[int, int | None] | None = None,
    *,
    made: bool = False,
) -> None:
    """Give faces to `to`, or to nobody, with the sightings of the same looks, and those that were `seen`, with owners.

    `made`: whether `to` was made for it, and goes when it is undone. Raises UnknownFace, moving none, if one is not there.
    """
    target = None if to is None else people.find(connection, to)[0]
    owners = {face: owner for face, owner in _owners(connection, faces).items() if owner != target}
    also = {sighting: owner for sighting, owner in (seen or {}).items() if owner != target}
    if not owners and not also:
        return
    struck = _numbers(
        connection,
        f"DELETE FROM denials WHERE identity = ? AND face {_IN} RETURNING face",  # noqa: S608 - a constant
        target,
        _listed(owners),
    )
    went = hand_over(connection, writer, owners, target) | also
    connection.execute(f"UPDATE sightings SET identity = ? WHERE id {_IN}", (target, _listed(also)))  # noqa: S608
    acts.record(
        connection,
        acts.Move(
            identity=target or 0,
            faces=_by_owner(owners),
            sightings=_by_owner(went),
            struck_faces=packed_runs(struck),
            made=made,
        ),
    )


def hand_over(
    connection: Connection, writer: Writer, faces: Collection[int], target: int | None
) -> dict[int, int | None]:
    """Give faces to `target`, with the sightings of the same looks; return these, with the owners that they had."""
    listed = _listed(faces)
    seen: dict[int, int | None] = dict(
        connection.execute(
            "SELECT s.id, s.identity FROM json_each(?) w JOIN faces f ON f.id = w.value JOIN sightings s "
            "ON s.source = f.source AND s.time = f.time AND s.track = f.track AND s.identity = f.identity",
            (listed,),
        )
    )
    lost: dict[int | None, int] = dict(
        connection.execute(f"SELECT identity, -count(*) FROM faces WHERE id {_IN} GROUP BY identity", (listed,))  # noqa: S608
    )
    people.count(connection, lost)
    people.count(connection, {target: -sum(lost.values())})
    connection.execute(f"UPDATE faces SET identity = ? WHERE id {_IN}", (target, listed))  # noqa: S608 - a constant
    connection.execute(f"UPDATE sightings SET identity = ? WHERE id {_IN}", (target, _listed(seen)))  # noqa: S608
    journal.append_moved(connection, writer, faces)
    return seen


def rename(connection: Connection, writer: Writer, key: int | str, name: str) -> None:
    """Give a person another name, or an unknown one the first. Raises NameTaken if somebody else has it."""
    number, before = people.find(connection, key)
    after = clean_name(name)
    if after == before:
        return
    taken = people.named(connection, after)
    if taken is not None:
        raise NameTaken(
            f"{after!r} is already the name of person {taken}; if both are the same person, merge {number} into {taken}"
        )
    call(connection, writer, number, after)
    acts.record(
        connection,
        acts.Name(identity=number, name=after)
        if before is None
        else acts.Rename(identity=number, before=before, name=after),
    )


def call(connection: Connection, writer: Writer, number: int, name: str | None) -> None:
    """Set a name that is free, or take it away."""
    known = None if name is None else folded(name)
    connection.execute("UPDATE identities SET name = ?, folded = ? WHERE id = ?", (name, known, number))
    journal.append(connection, writer, "renamed", number, number, 0)


def hide(connection: Connection, writer: Writer, key: int | str, *, hidden: bool) -> None:
    """Hide a person from searches and lists, or show again."""
    number, _ = people.find(connection, key)
    if conceal(connection, writer, number, hidden=hidden):
        acts.record(connection, acts.Hide(identity=number) if hidden else acts.Show(identity=number))


def conceal(connection: Connection, writer: Writer, number: int, *, hidden: bool) -> bool:
    """Hide or show; return whether that changed anything."""
    changed = connection.execute(
        "UPDATE identities SET hidden = ? WHERE id = ? AND hidden <> ?", (int(hidden), number, int(hidden))
    ).rowcount
    if changed:
        journal.append(connection, writer, "hidden", number, number, 0)
    return bool(changed)


def make(connection: Connection, name: str | None, created: float | None = None) -> int:
    """Make a person; return the number. Raises NameTaken if there is one of that name."""
    if name is not None:
        taken = people.named(connection, name)
        if taken is not None:
            raise NameTaken(f"{name!r} is already the name of person {taken}")
    row: tuple[int] = connection.execute(
        "INSERT INTO identities (name, folded, created) VALUES (?, ?, ?) RETURNING id",
        (name, None if name is None else folded(name), time.time() if created is None else created),
    ).fetchone()
    return row[0]


def denials(connection: Connection, person: int) -> tuple[set[int], set[int]]:
    """Return the faces and the people that `person` was said not to be."""
    rows = connection.execute(
        "SELECT face, other FROM denials WHERE identity = ?1 UNION SELECT face, identity FROM denials WHERE other = ?1",
        (person,),
    ).fetchall()
    return {face for face, _ in rows if face is not None}, {other for face, other in rows if face is None}


def deny(connection: Connection, person: int, faces: Iterable[int], others: Iterable[int]) -> None:
    """Note that `person` is not these faces and not these people."""
    now = time.time()
    connection.executemany(
        "INSERT INTO denials (identity, face, other, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(person, face, None, now) for face in faces] + [(person, None, other, now) for other in others],
    )


def _owners(connection: Connection, faces: Sequence[int]) -> dict[int, int | None]:
    """Return the owner of each face. Raises UnknownFace for one that is not there, ValueError for none at all."""
    if not len(faces):
        raise ValueError("no face was named")
    return people.owners_of(connection, faces)


def _by_owner(owners: dict[int, int | None]) -> dict[int, Runs]:
    return {
        owner: packed_runs(face for face, mine in owners.items() if (mine or 0) == owner)
        for owner in {owner or 0 for owner in owners.values()}
    }


def _numbers(connection: Connection, query: str, *values: int | str | None) -> list[int]:
    return [number for (number,) in connection.execute(query, values)]


def _listed(numbers: Iterable[int]) -> str:
    return json.dumps(sorted(numbers))
