"""The part of a gallery about who was seen where and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from vultus.index import enrolling, people, sightings
from vultus.index.paging import Order, Page, check_limit
from vultus.index.storage import Connection, Storage
from vultus.index.types import Enrolled, Seen, Shot, Sighting

_NEWEST = Order("newest sightings", ("s.time", "s.id"), (float, int), descending=True)
_LEAST_SPAN = 60.0
_MOST_SPANS = 10_000


class Seeing:
    """What `Gallery` does about sightings and their pictures."""

    _store: Storage

    def add_sighting(self, sighting: Sighting, shots: Sequence[Shot] = ()) -> int:
        """Store a sighting in place of an earlier one of the same run, source and track, and its pictures; return its number.

        It is a new one, so who reads by cursor sees the new decision. Raises UnknownIdentity if the person is gone.
        """
        with self._store.write() as connection:
            return sightings.add(connection, sighting, shots)

    def add_sightings(self, several: Sequence[Sighting]) -> list[int]:
        """Store several sightings in one commit; return their numbers."""
        with self._store.write() as connection:
            return [sightings.add(connection, sighting) for sighting in several]

    def keep_shots(self, shots: Mapping[int, Sequence[Shot]]) -> None:
        """Put these pictures in place of those that the sightings have; nothing of sightings that are gone."""
        with self._store.write() as connection:
            sightings.keep_shots(connection, shots)

    def shots(self, sighting: int) -> list[Shot]:
        """Return the pictures that are kept of a sighting, the clearest first."""
        with self._store.read() as connection:
            return sightings.shots(connection, sighting)

    def shot(self, number: int) -> Shot:
        """Return one of the pictures. Raises UnknownSighting if it is not there, or no longer."""
        with self._store.read() as connection:
            return sightings.shot(connection, number)

    def sightings(
        self, since: int = 0, limit: int = 1000, *, source: str | None = None, identity: int | None = None
    ) -> list[Sighting]:
        """Return up to `limit` sightings above the number `since`, oldest first; later ones get no lower number."""
        with self._store.read() as connection:
            return sightings.listed(connection, since, limit, source, identity)

    def newest_sighting(self) -> int:
        """Return the number above which `sightings` finds what comes from now on."""
        with self._store.read() as connection:
            return connection.last_number("sightings", "id")

    def sighting(self, number: int) -> Sighting:
        """Return one. Raises UnknownSighting if it is not there, or another decision has taken its place."""
        with self._store.read() as connection:
            connection.steady()
            return _pictured(connection, [sightings.found(connection, number)])[0]

    def seen(self, where: Seen | None = None, *, limit: int = 50, cursor: str | None = None) -> Page[Sighting]:
        """Return a page of the sightings that are wanted, the newest first. Raises UnknownIdentity."""
        check_limit(limit)
        after, place = _NEWEST.after(cursor)
        with self._store.read() as connection:
            connection.steady()
            terms, values = _terms(connection, where or Seen())
            rows = connection.execute(
                f"SELECT {_NEWEST.columns}, {sightings.COLUMNS} FROM {sightings.SIGHTINGS} "  # noqa: S608 - constants
                f"WHERE {' AND '.join(terms + after)} {_NEWEST.clause} LIMIT ?",
                (*values, *place, limit + 1),
            ).fetchall()
            page = _NEWEST.page(rows, limit, sightings.to_sighting)
            return Page(_pictured(connection, page.items), page.cursor)

    def seen_counts(
        self, where: Seen | None = None, *, every: float = 3600.0, shift: float = 0.0
    ) -> list[tuple[float, int]]:
        """Return how many sightings there are in each span of `every` seconds in which there is one, oldest first.

        A span is told by its beginning. They are counted from 1970-01-01 00:00 UTC, `shift` seconds earlier: for days
        in a time zone that is its offset, east positive. At most the newest 10,000 spans. Raises UnknownIdentity.
        """
        if not every >= _LEAST_SPAN:
            raise ValueError(f"a span has at least {_LEAST_SPAN:g} seconds, not {every}")
        with self._store.read() as connection:
            connection.steady()
            terms, values = _terms(connection, where or Seen())
            named = (
                sightings.SIGHTINGS if any("i.name" in term for term in terms) else "sightings s"
            )  # an index will do
            rows = connection.execute(
                f"SELECT floor((s.time + ?) / ?) AS span, count(*) FROM {named} "  # noqa: S608 - constants
                f"WHERE {' AND '.join(terms)} GROUP BY span ORDER BY span DESC LIMIT {_MOST_SPANS}",
                (float(shift), float(every), *values),
            ).fetchall()
        return [(span * every - shift, count) for span, count in reversed(rows)]

    def enrol_sighting(
        self, number: int, person: int | str, vectors: Mapping[int, ArrayLike] | None = None
    ) -> Enrolled:
        """Say who was seen: the faces of a sighting become those of a person, who is made if the name is a new one.

        Of a stranger the gallery may keep the face of this very look, which is moved. Vectors are not kept with
        pictures; `vectors` has those that the caller made of them, `(dim,)` each, by the number of the picture
        (`Shot.id`), and each becomes a face with that picture. Undoing gives all of it back to whose it was before.
        Raises UnknownSighting, UnknownIdentity, and ValueError if there is neither a face nor a vector.
        """
        return enrolling.enrol(self._store, number, person, vectors or {})

    def deny_sighting(self, number: int, vectors: Mapping[int, ArrayLike] | None = None) -> int:
        """Say that the person of a sighting is not on it: one of nobody takes its place, whose number is returned.

        Each of `vectors`, as for `enrol_sighting`, becomes a face of nobody that is a negative example of the person.
        All of it is one commit. Raises UnknownSighting, and Denied if the sighting is of nobody.
        """
        return enrolling.deny(self._store, number, vectors or {})


def _terms(connection: Connection, where: Seen) -> tuple[list[str], list[Any]]:
    """Return SQL for the sightings `s`, of identities `i`, that are wanted, and its parameters."""
    terms, values = ["1 = 1"], list[Any]()
    if where.people is not None:
        numbers = [people.find(connection, key)[0] for key in where.people]
        terms.append(f"s.identity IN ({', '.join('?' * len(numbers))})" if numbers else "1 = 0")
        values += numbers
    if where.unknown is not None:
        terms.append(f"i.name IS {'' if where.unknown else 'NOT '}NULL")
    hidden = "SELECT id FROM identities WHERE hidden = 1"  # few; asking each sighting's person takes longer
    if where.hidden is not None:
        terms.append(
            f"s.identity IN ({hidden})" if where.hidden else f"(s.identity IS NULL OR s.identity NOT IN ({hidden}))"
        )
    for term, value in (
        ("s.source = ?", where.source),
        ("s.time >= ?", where.after),
        ("s.time < ?", where.before),
        ("s.similarity >= ?", where.similarity),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    return terms, values


def _pictured(connection: Connection, several: list[Sighting]) -> list[Sighting]:
    """Return the sightings with the clearest picture of each."""
    return sightings.with_shots(connection, several)
