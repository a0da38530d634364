"""Which faces a search looks at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np

from vultus.index import people
from vultus.index.archive import prefix_range
from vultus.index.journal import Point
from vultus.index.storage import Connection
from vultus.index.types import Where
from vultus.index.vectors import NOBODY, VectorIndex

_REMEMBERED = 8
"""Filters whose faces are remembered; each takes a byte for each face twice."""
_CHUNK = 65536

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


class Filters:
    """What filters admit, remembered for those that were used last: a camera asks the same one again and again.

    A face's source, time, quality and collection never change and its number is never given again, so that only new
    faces have to be asked for. May be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._admitted: OrderedDict[Where, np.ndarray] = OrderedDict()
        self._masks: OrderedDict[tuple[Where, Point, int], np.ndarray | None] = OrderedDict()

    def forget(self) -> None:
        """Begin anew: the database has become another one."""
        with self._lock:
            self._admitted.clear()
            self._masks.clear()

    def resolve(self, connection: Connection, where: Where | None) -> Where | None:
        """Return `where` with people by number, ascending, or none if it admits everything. Raises UnknownIdentity."""
        if where is None or where.people is None:
            return None if where == Where() else where
        numbers = {people.find(connection, key)[0] for key in where.people}
        return msgspec.structs.replace(where, people=tuple(sorted(numbers)))

    def admitted(self, connection: Connection, where: Where | None) -> np.ndarray | None:
        """Return which face numbers have the columns that `where` asks for, or none if it asks for none.

        A bool for each number from 0; numbers beyond the end count as the last one, which is false.
        """
        if where is None:
            return None
        columns = msgspec.structs.replace(where, people=None, labelled=None, hidden=False)
        if columns == Where():
            return None
        with self._lock:
            return _kept(self._admitted, columns, lambda known: _extended(connection, columns, known))

    def mask(
        self, index: VectorIndex, point: Point, where: Where | None, found: np.ndarray | None
    ) -> np.ndarray | None:
        """Return which rows of the index, as it is at `point`, `where` admits; none if it admits all.

        `where` is what `resolve` returned, `found` what `admitted` returned.
        """
        if where is None:
            return None
        key = (where, point, 0 if found is None else len(found))
        with self._lock:
            return _kept(self._masks, key, lambda _: _mask(index, where, found))


def admits(found: np.ndarray | None, faces: np.ndarray) -> np.ndarray:
    """Return which of the numbers `faces` are among those that `Filters.admitted` returned, as bool."""
    return np.ones(len(faces), bool) if found is None else np.take(found, faces, mode="clip")


def _kept(kept: OrderedDict[_Key, _Kept], key: _Key, make: Callable[[_Kept | None], _Kept]) -> _Kept:
    """Return what `make` makes of what is remembered under `key`, and remember that."""
    value = kept[key] = make(kept.get(key))
    kept.move_to_end(key)
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)
    return value


def _mask(index: VectorIndex, where: Where, found: np.ndarray | None) -> np.ndarray | None:
    mask = admits(found, index.faces)
    if where.labelled is not None:
        mask &= (index.people > NOBODY) == where.labelled
    if where.people is not None:
        mask &= np.isin(index.people, [sign * int(person) for person in where.people for sign in (1, -1)])
    if where.hidden:
        mask &= np.isin(index.people, list(index.hidden))
    return None if mask.all() else mask


def _extended(connection: Connection, where: Where, known: np.ndarray | None) -> np.ndarray:
    """Return the faces that fit `where`, given those of an earlier call."""
    (last,) = connection.execute("SELECT max(id) FROM faces").fetchone()
    upto = 0 if known is None else len(known) - 2
    if known is not None and (last or 0) <= upto:
        return known
    admitted = np.zeros((last or 0) + 2, bool)
    if known is not None:
        admitted[: len(known)] = known
    asked, values = terms(where)
    cursor = connection.execute(
        f"SELECT id FROM faces WHERE id > ? AND id <= ? AND {' AND '.join(asked)}",  # noqa: S608 - literals
        (upto, last or 0, *values),
    )
    while rows := cursor.fetchmany(_CHUNK):
        admitted[np.fromiter((number for (number,) in rows), np.int64, len(rows))] = True
    return admitted


def terms(where: Where) -> tuple[list[str], list[object]]:
    """Return SQL about the columns of `faces` that `where` asks for, and its parameters."""
    terms, values = list[str](), list[object]()
    if where.source is not None:
        terms.append("source >= ? AND source < ?")
        values += prefix_range(where.source)
    for term, value in (
        ("time >= ?", where.after),
        ("time < ?", where.before),
        ("quality >= ?", where.quality),
        ("collection = ?", where.collection),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    return terms, values
