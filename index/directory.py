"""The part of a gallery that lists people and their faces, page by page."""

from __future__ import annotations

import json
from typing import Any, Literal

from vultus.index import people
from vultus.index.names import folded
from vultus.index.paging import Order, Page, check_limit, chosen
from vultus.index.storage import Connection, Storage
from vultus.index.types import Collection, Identity, Person, StoredFace

PeopleOrder = Literal["name", "newest", "faces"]
FacesOrder = Literal["best", "oldest", "newest"]

_PEOPLE = {
    "name": Order("people by name", ("i.folded", "i.id"), (str, int)),
    "newest": Order("newest people", ("i.id",), (int,), descending=True),
    "faces": Order("people by faces", ("-i.faces", "i.id"), (int, int)),
}
_FACES = {
    "best": Order("best faces", ("-coalesce(f.quality, -1.0)", "f.id"), (float, int)),
    "oldest": Order("oldest faces", ("f.id",), (int,)),
    "newest": Order("newest faces", ("f.id",), (int,), descending=True),
}


class Directory:
    """What `Gallery` tells of the people and faces that are there."""

    _store: Storage

    def identities(self, *, hidden: bool | None = False) -> list[Identity]:
        """Return everybody who has a name, in the order of names; those hidden if asked, or (none) both."""
        with self._store.read() as connection:
            return people.identities(connection, hidden=hidden)

    def identity(self, key: int | str) -> Identity:
        """Return a person by number or name, also one who is hidden or unknown. Raises UnknownIdentity."""
        with self._store.read() as connection:
            connection.steady()
            return people.identity(connection, people.find(connection, key)[0])

    def person(self, key: int | str) -> Person:
        """Return a person as `people` describes one, by number or name, also one who is hidden or unknown.

        Raises UnknownIdentity.
        """
        with self._store.read() as connection:
            connection.steady()
            return _described(connection, [people.find(connection, key)[0]])[0]

    def people(
        self,
        part: str | None = None,
        *,
        order: PeopleOrder = "name",
        hidden: bool | None = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Person]:
        """Return a page of those who have a name, of whose names `part` is a part: case and accents do not count.

        Ordered by name, or those first who came last, or who have most faces. `hidden`: those hidden, or (none) both.
        """
        by = chosen(_PEOPLE, order)
        terms, values = by.after(cursor)
        if hidden is not None:
            terms.append("i.hidden = ?")
            values.append(int(hidden))
        if part is not None and (sought := folded(part).replace("\0", "").strip()):
            # By another order than that of names it is quicker to find them all in the index of names first.
            found = "i.id IN (SELECT id FROM identities WHERE name IS NOT NULL AND instr(folded, ?) > 0)"
            terms.append("instr(i.folded, ?) > 0" if order == "name" else found)
            values.append(sought)
        return self._people(by, ["i.name IS NOT NULL", *terms], values, limit)

    def _people(self, by: Order, terms: list[str], values: list[Any], limit: int) -> Page[Person]:
        check_limit(limit)
        with self._store.read() as connection:
            connection.steady()
            rows = connection.execute(
                f"SELECT {by.columns}, i.id FROM identities i WHERE {' AND '.join(terms)} {by.clause} LIMIT ?",  # noqa: S608
                (*values, limit + 1),
            ).fetchall()
            page = by.page(rows, limit, lambda rest: int(rest[0]))
            return Page(_described(connection, page.items), page.cursor)

    def faces(self, identity: int | str | None) -> list[StoredFace]:
        """Return the faces of a person, or (none) of nobody who has a name, oldest first, without vectors and chips.

        Raises UnknownIdentity.
        """
        with self._store.read() as connection:
            connection.steady()
            return people.faces_of(connection, None if identity is None else people.find(connection, identity)[0])

    def faces_page(
        self,
        identity: int | str | None,
        *,
        order: FacesOrder = "best",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[StoredFace]:
        """Return a page of the faces of a person, or (none) of those that are nobody's, without vectors and chips.

        The best are those of the best quality; those whose quality is not known come last. Raises UnknownIdentity.
        """
        check_limit(limit)
        by = chosen(_FACES, order)
        terms, values = by.after(cursor)
        with self._store.read() as connection:
            connection.steady()
            terms.append("f.identity IS NULL" if identity is None else "f.identity = ?")
            values += [] if identity is None else [people.find(connection, identity)[0]]
            rows = connection.execute(
                f"SELECT {by.columns}, {people.FACE_COLUMNS} FROM {people.FACES} "  # noqa: S608 - constants
                f"WHERE {' AND '.join(terms)} {by.clause} LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        return by.page(rows, limit, people.to_face)

    def collections(self) -> list[Collection]:
        """Return the collections that faces are in, in the order of their names."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT collection, count(*), count(DISTINCT identity) FROM faces WHERE collection IS NOT NULL "
                "GROUP BY collection ORDER BY collection"
            )
            return [Collection(name=name, faces=faces, people=several) for name, faces, several in rows]


def _described(connection: Connection, numbers: list[int]) -> list[Person]:
    """Return what a list shows of people who are there."""
    rows = connection.execute(
        "SELECT i.id, i.name, i.faces, i.created, i.hidden, "
        "(SELECT f.id FROM faces f WHERE f.identity = i.id ORDER BY -coalesce(f.quality, -1.0), f.id LIMIT 1), "
        "(SELECT max(s.time) FROM sightings s WHERE s.identity = i.id) "
        "FROM json_each(?) w JOIN identities i ON i.id = w.value",
        (json.dumps(numbers),),
    )
    found = {
        number: Person(
            id=number, name=name, faces=faces, created=created, hidden=bool(hidden), best_face=best, last_seen=seen
        )
        for number, name, faces, created, hidden, best, seen in rows
    }
    return [found[number] for number in numbers]
