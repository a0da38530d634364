"""Negative examples: "not this person"."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from msgspec import Struct

from vultus.index import journal, people
from vultus.index.errors import Denied, UnknownDenial, UnknownFace
from vultus.index.storage import Connection, Writer
from vultus.index.types import Denial
from vultus.index.vectors import similarities_of

_THE_ONE = "(identity = ?1 AND (face = ?2 OR other = ?3)) OR (identity = ?3 AND other = ?1)"
_NOTHING: Mapping[int, tuple[int, ...]] = MappingProxyType({})


class Denials(Struct, frozen=True):
    """All negative examples, by person, as searches ask for them."""

    faces: Mapping[int, tuple[int, ...]] = _NOTHING
    """Faces that are not the person, ascending."""
    others: Mapping[int, tuple[int, ...]] = _NOTHING
    """People who are not the person; each pair from both sides."""

    def concern(self, person: int) -> bool:
        """Whether anything is denied of the person, who is negative if without a name."""
        return abs(person) in self.faces or abs(person) in self.others

    def concerning(self, people: np.ndarray) -> np.ndarray:
        """Return of which people, negative if without a name, anything is denied, as bool."""
        if not self.faces and not self.others:
            return np.zeros(people.shape, bool)
        return np.isin(np.abs(people), [*self.faces, *self.others])

    def judge(self, probe: np.ndarray, read: Callable[[list[int]], np.ndarray]) -> Callable[[int, float], bool]:
        """Return what says whether a person is no answer to the probe, given the similarity of the person's best face.

        It wants to be asked about the people in the order of their best faces, about each once. `read` returns the
        vectors of faces.
        """
        seen: set[int] = set()

        def refused(owner: int, similarity: float) -> bool:
            person = abs(owner)
            seen.add(person)
            if not self.concern(person):
                return False
            if not seen.isdisjoint(self.others.get(person, ())):
                return True
            denied = self.faces.get(person)
            if denied is None:
                return False
            return bool(similarities_of(probe[None], read(list(denied))[None]).max() >= similarity)

        return refused


def load(connection: Connection) -> Denials:
    """Return all negative examples."""
    faces: dict[int, list[int]] = {}
    others: dict[int, list[int]] = {}
    for identity, face, other in connection.execute("SELECT identity, face, other FROM denials ORDER BY face"):
        if other is None:
            faces.setdefault(identity, []).append(face)
        else:
            others.setdefault(identity, []).append(other)
            others.setdefault(other, []).append(identity)
    return Denials(*({person: tuple(listed) for person, listed in table.items()} for table in (faces, others)))


def deny(connection: Connection, writer: Writer, key: int | str, face: int | None, other: int | str | None) -> None:
    """Remember that a person is not on a face, or is not another person; a second time nothing happens."""
    person, _, second = one = _resolved(connection, key, face, other)
    if face is not None and _owner(connection, face) == person:
        raise Denied(
            f"face {face} is one of the faces of person {person}; give it to somebody else first, or delete it"
        )
    if connection.execute(f"SELECT 1 FROM denials WHERE {_THE_ONE}", one).fetchone() is None:  # noqa: S608 - a constant
        row = (person, face, second, time.time())
        connection.execute("INSERT INTO denials (identity, face, other, at) VALUES (?, ?, ?, ?)", row)
        journal.append(connection, writer, "denied", person, person, 0)


def allow(connection: Connection, writer: Writer, key: int | str, face: int | None, other: int | str | None) -> None:
    """Take a negative example back. Raises UnknownDenial if there is none."""
    person, _, second = one = _resolved(connection, key, face, other)
    if not connection.execute(f"DELETE FROM denials WHERE {_THE_ONE}", one).rowcount:  # noqa: S608 - a constant
        what = f"on face {face}" if other is None else f"person {second}"
        raise UnknownDenial(f"nobody has said that person {person} is not {what}")
    journal.append(connection, writer, "denied", person, person, 0)


def listed(connection: Connection, key: int | str | None) -> list[Denial]:
    """Return the negative examples that concern a person, or all, oldest first; a pair of people stands once."""
    person = None if key is None else people.find(connection, key)[0]
    rows = connection.execute(
        "SELECT d.identity, i.name, d.face, f.source, d.other, o.name, d.at FROM denials d "
        "JOIN identities i ON i.id = d.identity LEFT JOIN faces f ON f.id = d.face "
        "LEFT JOIN identities o ON o.id = d.other ORDER BY d.at, d.identity, d.face, d.other"
    )
    found = [
        Denial(identity=identity, name=name, face=face, source=source, other=other, other_name=other_name, at=at)
        for identity, name, face, source, other, other_name, at in rows
    ]
    return [one for one in found if person is None or person in (one.identity, one.other)]


def _resolved(
    connection: Connection, key: int | str, face: int | None, other: int | str | None
) -> tuple[int, int | None, int | None]:
    """Return person, face and other person of a negative example by number."""
    if (face is None) == (other is None):
        raise ValueError("say either which face or which other person it is not")
    person = people.find(connection, key)[0]
    second = None if other is None else people.find(connection, other)[0]
    if second == person:
        raise ValueError(f"person {person} cannot be denied to be the same person")
    return person, face, second


def _owner(connection: Connection, face: int) -> int | None:
    row: tuple[int | None] | None = connection.execute("SELECT identity FROM faces WHERE id = ?", (face,)).fetchone()
    if row is None:
        raise UnknownFace(f"face {face} is not in the gallery")
    return row[0]
