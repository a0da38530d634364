"""From the SQL that `vultus.index.storage` describes to what PostgreSQL's driver reads."""

from __future__ import annotations

import re
from functools import lru_cache

_TURNS = re.compile(
    r"(?P<literal>'(?:[^']|'')*')"
    r"|(?P<names>CAST\(value AS TEXT\) FROM json_each\(\?\))"
    r"|json_each\(\?\)(?P<alias> [a-z]\w*)?"
    r"|\bIS (?P<differs>NOT )?\?(?P<compared>\d*)"
    r"|\?(?P<asked>\d*) IS (?P<there>NOT )?NULL\b"
    r"|\?(?P<number>\d*)"
    r"|(?P<within>\binstr\()"
    r"|(?P<percent>%)"
)
_LIST = "json_array_elements_text(CAST(%s AS json)) AS listed"
_NAMES = f"value FROM {_LIST}"
_NUMBERS = f"(SELECT CAST(value AS bigint) AS value FROM {_LIST})"  # noqa: S608 - a constant


@lru_cache(maxsize=256)
def translated(sql: str) -> tuple[str, tuple[int, ...]]:
    """Return the statement for PostgreSQL, with placeholders `%s`, and which parameter stands at each of them."""
    places: list[int] = []

    def place(number: str | None) -> str:
        places.append(int(number) - 1 if number else len(places))
        return "%s"

    def turned(found: re.Match[str]) -> str:
        if found["literal"] is not None:
            return found["literal"].replace("%", "%%")
        if found["percent"] is not None:
            return "%%"
        if found["within"] is not None:
            return "strpos("
        if found["names"] is not None:
            place(None)
            return _NAMES
        if found["compared"] is not None:
            return f"IS {'' if found['differs'] else 'NOT '}DISTINCT FROM {place(found['compared'])}"
        if found["asked"] is not None:  # the type of a parameter of which nothing else is asked would not be known
            return f"CAST({place(found['asked'])} AS text) IS {found['there'] or ''}NULL"
        if found["number"] is not None:
            return place(found["number"])
        place(None)
        return _NUMBERS + (found["alias"] or " AS listed")

    return _TURNS.sub(turned, sql), tuple(places)
