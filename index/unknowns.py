"""Unknown people: who they are made of, and what a user does with them. `Gallery.unknowns`.

Faces come in as nobody's (archives), or one by one (cameras). What has been looked at is noted in the database with what
came of it, in one transaction, so a gathering can be killed at any moment and goes on where it was; several processes may
gather at once, and the one that comes second to a batch repeats it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from vultus.index import clustering, intake, owners, people, search
from vultus.index.binding import bind_dim
from vultus.index.clustering import Candidate, Cluster, Limits
from vultus.index.contract import Backend
from vultus.index.errors import UnknownIdentity
from vultus.index.journal import append_moved
from vultus.index.loading import bound_to, unpack
from vultus.index.names import clean_name
from vultus.index.paging import Order, Page, check_limit, chosen
from vultus.index.storage import Connection
from vultus.index.strangers import described
from vultus.index.types import FaceRecord, Unknown

_BATCH = 256
_MANY = 4096
_ORDERS = {
    "faces": Order("unknown by faces", ("-i.faces", "i.id"), (int, int)),
    "newest": Order("newest unknown", ("i.id",), (int,), descending=True),
}
_UNKNOWN = "folded IS NULL"
"""SQL for people without a name; said so, since of `name IS NULL` SQLite reads all from the index of names."""
_ROUNDS = 4
"""Re-checks after one another; a merge may bring two others together."""
_SAME_LOOK = 0.95
"""A camera's face so near to one that the person has says nothing new and is not stored."""
_MOST_FACES = 64
"""Nor are a camera's faces of a person who has so many; sightings go on."""

_T = TypeVar("_T")


class Gathered(Struct, frozen=True, kw_only=True):
    """What became of faces that were nobody's."""

    faces: int = 0
    """Looked at."""
    joined: int = 0
    """Now an unknown person's whom there was before."""
    founded: int = 0
    """New unknown people."""
    merged: int = 0
    """Unknown people who turned out to be another one."""
    left: int = 0
    """Faces that stay nobody's: too blurred, or near to somebody with a name."""


class Placed(Struct, frozen=True, kw_only=True):
    """Whom a camera's face belongs to."""

    identity: int
    hidden: bool
    stored: bool
    """Whether the face was kept."""


class Unknowns:
    """The unknown people of a gallery; get it as `Gallery.unknowns`. Methods raise what those of `Gallery` do."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._storage = backend.storage

    # What a user does

    def people(self, *, hidden: bool | None = False, limit: int | None = None, least: int = 1) -> list[Unknown]:
        """Return unknown people with at least so many faces, those with most first; those hidden if asked, or both."""
        with self._storage.read() as connection:
            connection.steady()
            rows = connection.execute(
                f"SELECT id FROM identities WHERE {_UNKNOWN} AND (hidden = ?1 OR ?1 IS NULL) AND faces >= ?2 "  # noqa: S608
                "ORDER BY -faces, id LIMIT ?3",
                (None if hidden is None else int(hidden), least, (1 << 62) if limit is None else limit),
            ).fetchall()
            return [described(connection, number) for (number,) in rows]

    def page(
        self,
        *,
        order: Literal["faces", "newest"] = "faces",
        least: int = 1,
        hidden: bool | None = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Unknown]:
        """Return a page of unknown people with at least so many faces: those with most first, or who came last."""
        check_limit(limit)
        by = chosen(_ORDERS, order)
        terms, values = by.after(cursor)
        if hidden is not None:
            terms.append("i.hidden = ?")
            values.append(int(hidden))
        with self._storage.read() as connection:
            connection.steady()
            rows = connection.execute(
                f"SELECT {by.columns}, i.id FROM identities i WHERE "  # noqa: S608 - constants
                f"{' AND '.join([_UNKNOWN, 'i.faces >= ?', *terms])} {by.clause} LIMIT ?",
                (least, *values, limit + 1),
            ).fetchall()
            return by.page(rows, limit, lambda rest: described(connection, rest[0]))

    def get(self, number: int) -> Unknown:
        """Return one. Raises UnknownIdentity if there is none, also if the person has a name."""
        with self._storage.read() as connection:
            connection.steady()
            _check(connection, number)
            return described(connection, number)

    def name(self, number: int, name: str) -> int:
        """Say who an unknown person is; return the number that this person has from now on.

        If somebody has that name already, the unknown person becomes part of that one (`Gallery.undo` takes it back).
        """
        clean = clean_name(name)
        with self._storage.write() as connection:
            _check(connection, number)
            taken = people.named(connection, clean)
            if taken is None:
                owners.rename(connection, self._storage.writer, number, clean)
                return number
            owners.merge(connection, self._storage.writer, taken, number)
            return taken

    def merge(self, into: int, other: int) -> None:
        """Two unknown people are one: `other` becomes part of `into`."""
        with self._storage.write() as connection:
            _check(connection, into)
            _check(connection, other)
            owners.merge(connection, self._storage.writer, into, other)

    def ignore(self, number: int) -> None:
        """Hide an unknown person: no list, no search and no sighting of a camera shows this one any more."""
        with self._storage.write() as connection:
            _check(connection, number)
            owners.hide(connection, self._storage.writer, number, hidden=True)

    # How they come to be

    def pending(self) -> int:
        """Return how many faces `gather` would look at."""
        with self._storage.read() as connection:
            row: tuple[int] = connection.execute(
                "SELECT count(*) FROM faces f WHERE f.identity IS NULL AND f.id > (SELECT gathered FROM gallery)"
            ).fetchone()
        return row[0]

    def gather(
        self,
        threshold: float,
        *,
        again: bool = False,
        limit: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Gathered:
        """Make unknown people of the faces that are nobody's and were not looked at yet, of `limit` at most.

        `threshold` is the cosine from which on two faces count as one person; gathering asks for more than that. `again`
        looks at all of nobody's faces once more, also those left over before. `progress` is called with the number of
        faces looked at after each batch.
        """
        if again:
            with self._storage.write() as connection:
                connection.execute("UPDATE gallery SET gathered = 0")
        total, touched = Gathered(), set[int]()
        while limit is None or total.faces < limit:
            done = self._retried(partial(self._gather_batch, threshold, _BATCH, touched))
            if done is None:
                break
            total = _sum(total, done)
            if progress is not None:
                progress(total.faces)
        return _sum(total, Gathered(merged=self._recheck(threshold, touched)))

    def place(self, vectors: ArrayLike, faces: Sequence[FaceRecord], threshold: float) -> list[Placed | None]:
        """Add faces of strangers, one each, to the unknown people they belong to, who are made as needed.

        Gives none for a face that is too blurred to found anybody, and for one that is near to somebody with a name.
        A face is not stored if the person has one like it, or many.
        """
        with self._storage.read() as connection:
            dim = bound_to(connection)[2]
        rows, records = intake.checked(vectors, faces, dim)
        if not len(rows):
            return []
        return self._retried(partial(self._place, rows, records, threshold))

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        return search.retried(attempt, self._storage.place)

    def _gather_batch(self, threshold: float, count: int, touched: set[int]) -> Gathered | None:
        """Look at the next faces; none if there are none. Adds the people that it changed to `touched`."""
        with self._storage.read() as connection:
            cursor, newest = connection.execute(
                "SELECT gathered, (SELECT coalesce(max(id), 0) FROM faces) FROM gallery"
            ).fetchone()
            rows = connection.execute(
                "SELECT f.id, f.quality FROM faces f WHERE f.id > ? AND f.identity IS NULL "
                "AND f.id NOT IN (SELECT face FROM lacking) ORDER BY f.id LIMIT ?",
                (cursor, count),
            ).fetchall()
            if not rows:
                self._pass_over(cursor, newest)
                return None
            faces = [face for face, _ in rows]
            vectors = _vectors(connection, faces)
            clusters = self._decide(connection, vectors, [quality for _, quality in rows], threshold)
        founded = joined = 0
        with self._storage.write() as connection:
            moved = connection.execute(
                "UPDATE gallery SET gathered = ? WHERE gathered = ?", (faces[-1], cursor)
            ).rowcount
            if not moved:
                raise search.Moved
            numbers = _settle(connection, clusters)
            free = _still_nobodys(connection, faces)
            pairs = [
                (number, faces[at])
                for number, one in zip(numbers, clusters, strict=True)
                for at in one.joined
                if faces[at] in free
            ]
            connection.executemany("UPDATE faces SET identity = ? WHERE id = ?", pairs)
            people.count(connection, Counter(number for number, _ in pairs))
            append_moved(connection, self._storage.writer, [face for _, face in pairs])
        touched.update(number for number, one in zip(numbers, clusters, strict=True) if one.shifted)
        founded = sum(one.number is None for one in clusters)
        joined = len(pairs) - founded
        return Gathered(faces=len(faces), founded=founded, joined=joined, left=len(faces) - len(pairs))

    def _pass_over(self, cursor: int, newest: int) -> None:
        """Move the cursor over many faces that all have owners, so that nobody reads them again at each gathering."""
        if newest - cursor >= _MANY:
            with self._storage.write() as connection:
                connection.execute("UPDATE gallery SET gathered = ? WHERE gathered = ?", (newest, cursor))

    def _place(self, rows: np.ndarray, records: Sequence[FaceRecord], threshold: float) -> list[Placed | None]:
        with self._storage.read() as connection:
            clusters = self._decide(connection, rows, [record.quality for record in records], threshold)
            new = _news(connection, rows, clusters)
        placed: list[Placed | None] = [None] * len(rows)
        with self._storage.write() as connection:
            bind_dim(connection, rows)
            numbers = _settle(connection, clusters)
            hidden = {number for (number,) in _chosen(connection, "hidden = 1", numbers)}
            kept, whose = list[int](), list[int | None]()
            for number, cluster in zip(numbers, clusters, strict=True):
                for at in cluster.joined:
                    placed[at] = Placed(identity=number, hidden=number in hidden, stored=at in new)
                    if at in new:
                        kept.append(at)
                        whose.append(number)
            people.add_faces(connection, self._storage.writer, rows[kept], [records[at] for at in kept], whose)
        return placed

    def _decide(
        self, connection: Connection, vectors: np.ndarray, qualities: Sequence[float | None], threshold: float
    ) -> list[Cluster]:
        limit = _limits(connection, threshold)
        near = self._near(connection, vectors, limit)
        unknown = sorted({-one.person for row in near for one in row if one.person < 0})
        known = {number: Cluster(number, votes) for number, votes in _votes(connection, unknown).items()}
        quality = np.array([1.0 if value is None else value for value in qualities])
        order = np.argsort(-quality, kind="stable").tolist()
        return clustering.assign(vectors, quality >= clustering.GOOD, order, near, known, limit)

    def _near(self, connection: Connection, vectors: np.ndarray, limit: Limits) -> list[list[Candidate]]:
        """Return whom each vector is near to, by the nearest face, hidden people too."""
        found = self._backend.near(connection, vectors, clustering.CANDIDATES, limit.near)
        return [[Candidate(person, similarity) for person, similarity in row] for row in found]

    def _recheck(self, threshold: float, touched: set[int]) -> int:
        """Merge unknown people, of whom one was touched, whose centres say that they are one; return how many."""
        merged = 0
        for _ in range(_ROUNDS):
            together = self._retried(partial(self._recheck_once, threshold, sorted(touched)))
            if not together:
                break
            merged += len(together)
            touched = {into for into, _ in together}
        return merged

    def _recheck_once(self, threshold: float, touched: Sequence[int]) -> list[tuple[int, int]]:
        pairs = list[tuple[int, int]]()
        for start in range(0, len(touched), _BATCH):
            pairs += self._alike(threshold, touched[start : start + _BATCH])
        if not pairs:
            return []
        gone, done = set[int](), list[tuple[int, int]]()
        with self._storage.write() as connection:
            everybody = sorted({number for pair in pairs for number in pair})
            unnamed = {number for (number,) in _chosen(connection, "name IS NULL", everybody)}
            hidden = {number for (number,) in _chosen(connection, "hidden = 1", everybody)}
            for older, younger in pairs:
                if {older, younger} & gone or not {older, younger} <= unnamed:
                    continue
                into, other = (younger, older) if younger in hidden and older not in hidden else (older, younger)
                if other in owners.denials(connection, into)[1]:
                    continue
                owners.absorb(connection, self._storage.writer, into, other)
                gone.add(other)
                done.append((into, other))
        return done

    def _alike(self, threshold: float, numbers: Sequence[int]) -> list[tuple[int, int]]:
        with self._storage.read() as connection:
            limit = _limits(connection, threshold)
            centres = _centres(connection, numbers)
            if not centres:
                return []
            near = self._near(connection, np.stack(list(centres.values())), limit)
            pairs = [
                (mine, -one.person) for mine, row in zip(centres, near, strict=True) for one in row if one.person < 0
            ]
            centres |= _centres(connection, sorted({other for _, other in pairs} - centres.keys()))
            return clustering.same(centres, [pair for pair in pairs if pair[1] in centres], limit)


def _sum(one: Gathered, other: Gathered) -> Gathered:
    return Gathered(**{field: getattr(one, field) + getattr(other, field) for field in Gathered.__struct_fields__})


def _limits(connection: Connection, threshold: float) -> Limits:
    (people,) = connection.execute("SELECT coalesce(max(id), 0) FROM identities").fetchone()  # a count costs more
    return clustering.limits(threshold, people)


def _check(connection: Connection, number: int) -> None:
    found, name = people.find(connection, int(number))
    if name is not None:
        raise UnknownIdentity(f"person {found} is not unknown, but {name!r}")


def _chosen(connection: Connection, which: str, numbers: Sequence[int]) -> list[tuple[int]]:
    query = f"SELECT id FROM identities WHERE {which} AND id IN (SELECT value FROM json_each(?))"  # noqa: S608 - literals
    return list(connection.execute(query, (json.dumps(list(numbers)),)))


def _still_nobodys(connection: Connection, faces: Sequence[int]) -> set[int]:
    query = "SELECT id FROM faces WHERE identity IS NULL AND id IN (SELECT value FROM json_each(?))"
    return {face for (face,) in connection.execute(query, (json.dumps(list(faces)),))}


def _settle(connection: Connection, clusters: Sequence[Cluster]) -> list[int]:
    """Return the number of each cluster; people who are new are made. Raises Moved if one has gone or got a name."""
    known = [one.number for one in clusters if one.number is not None]
    if len(_chosen(connection, "name IS NULL", known)) < len(known):
        raise search.Moved
    return [owners.make(connection, None) if one.number is None else one.number for one in clusters]


def _votes(connection: Connection, numbers: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the vectors that make the centre of each person, `(n, dim)`."""
    faces = {
        number: [
            face
            for (face,) in connection.execute(
                "SELECT id FROM faces WHERE identity = ? AND coalesce(quality, 1) >= ? "
                "AND id NOT IN (SELECT face FROM lacking) ORDER BY id LIMIT ?",
                (number, clustering.GOOD, clustering.VOTES),
            )
        ]
        for number in numbers
    }
    everything = np.array(sorted({face for mine in faces.values() for face in mine}), np.int64)
    vectors = _vectors(connection, everything.tolist())
    return {
        number: vectors[np.searchsorted(everything, mine)] if mine else vectors[:0] for number, mine in faces.items()
    }


def _centres(connection: Connection, numbers: Sequence[int]) -> dict[int, np.ndarray]:
    return {
        number: clustering.unit(votes.sum(axis=0, dtype=np.float64))
        for number, votes in _votes(connection, numbers).items()
        if len(votes)
    }


def _vectors(connection: Connection, faces: Sequence[int]) -> np.ndarray:
    """Return the vectors of faces, ascending. Raises Moved if one has been deleted."""
    rows = connection.packed_vectors(faces)
    if len(rows) < len(faces):
        raise search.Moved
    return unpack([packed for _, packed in rows], bound_to(connection)[2] or 1)[0]


def _news(connection: Connection, rows: np.ndarray, clusters: Sequence[Cluster]) -> set[int]:
    """Return the places of the faces that say something new about their person and are to be kept."""
    new: set[int] = set()
    for cluster in clusters:
        count, mine = 0, rows[:0]
        if cluster.number is not None:
            faces = [
                face
                for (face,) in connection.execute(
                    "SELECT id FROM faces WHERE identity = ? AND id NOT IN (SELECT face FROM lacking) ORDER BY id LIMIT ?",
                    (cluster.number, _MOST_FACES),
                )
            ]
            count, mine = len(faces), _vectors(connection, faces)
        for at in cluster.joined:
            if count < _MOST_FACES and (not len(mine) or float((mine @ rows[at]).max()) < _SAME_LOOK):
                new.add(at)
                count, mine = count + 1, np.concatenate((mine, rows[at : at + 1]))
    return new
