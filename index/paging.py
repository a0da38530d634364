"""Pages of long lists: a page ends with a cursor, the place of its last row in the order, where the next one begins.

Nothing is counted off: a page far down takes as long as the first, and rows that come or go meanwhile neither repeat nor
hide others. A cursor is for one order of one list; another list refuses it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

MOST = 1000
"""Items that a page may have."""
_MOST_CURSOR = 20_000
_Item = TypeVar("_Item")


class Page(Struct, Generic[_Item], frozen=True):
    """A part of a list."""

    items: list[_Item]
    cursor: str | None
    """What the next page is asked for with; none if this is the last one."""


class Order(Struct, frozen=True):
    """An order that a list can be read in: columns that decide, and how places in it are written down."""

    name: str
    keys: tuple[str, ...]
    """SQL of the columns that decide, of which the last is unique."""
    types: tuple[type, ...]
    """Of the columns."""
    descending: bool = False

    @property
    def columns(self) -> str:
        """SQL that a query for `page` begins with."""
        return ", ".join(self.keys)

    @property
    def clause(self) -> str:
        """SQL that puts rows into this order."""
        way = " DESC" if self.descending else ""
        return "ORDER BY " + ", ".join(f"{key}{way}" for key in self.keys)

    def after(self, cursor: str | None) -> tuple[list[str], list[Any]]:
        """Return SQL for the rows behind the cursor, and its parameters. Raises ValueError for what is no cursor."""
        if cursor is None:
            return [], []
        places, sign, values = ", ".join("?" * len(self.types)), "<" if self.descending else ">", self.place(cursor)
        # The first term follows from the second; it is what SQLite finds the place in an index of an expression by.
        return [f"{self.keys[0]} {sign}= ?", f"({self.columns}) {sign} ({places})"], [values[0], *values]

    def place(self, cursor: str) -> tuple[Any, ...]:
        """Return the values of the columns at a cursor. Raises ValueError for what is none of this order."""
        try:
            if len(cursor) > _MOST_CURSOR:
                raise ValueError("too long")
            packed = base64.urlsafe_b64decode(cursor.encode("ascii"))
            name, *values = msgspec.json.decode(packed, type=list[Any]) or [None]
            if name != self.name or tuple(map(type, values)) != self.types:
                raise ValueError("of another list")
            for value in values:
                if "\0" in value if isinstance(value, str) else abs(value) >= 2**63:
                    raise ValueError("no row has such a place")
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"this is no cursor of the list by {self.name}: {error}") from None
        return tuple(values)

    def cursor(self, values: Sequence[object]) -> str:
        """Return the cursor of the row with these values of the columns."""
        return base64.urlsafe_b64encode(msgspec.json.encode((self.name, *values))).decode()

    def page(self, rows: list[tuple[Any, ...]], limit: int, made: Callable[[Any], _Item]) -> Page[_Item]:
        """Return the page of up to `limit + 1` rows, each beginning with the columns of the order.

        `made` makes an item of the rest of a row.
        """
        width = len(self.types)
        more = len(rows) > limit
        items = [made(row[width:]) for row in rows[:limit]]
        return Page(items, self.cursor(rows[limit - 1][:width]) if more else None)


def check_limit(limit: int) -> None:
    """Raise ValueError for what is no size of a page."""
    if not 1 <= limit <= MOST:
        raise ValueError(f"a page has 1 to {MOST} items, not {limit}")


def chosen(orders: Mapping[str, Order], order: str) -> Order:
    """Return the order of this name. Raises ValueError if there is none."""
    if order not in orders:
        raise ValueError(f"the order is one of {', '.join(orders)}, not {order!a:.50}")
    return orders[order]
