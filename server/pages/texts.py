"""The words of the pages: a language is a TOML file in `server/texts`, chosen by the visitor or the browser."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

FOLDER = Path(__file__).parents[1] / "texts"
FALLBACK = "en"


class Texts(Struct, frozen=True, kw_only=True):
    """A language: sentences by dotted key."""

    code: str
    """As in `<html lang>`."""
    entries: Mapping[str, Any]
    """Nested tables of strings. A table of `one` and `other` is a sentence that depends on the number `n`."""

    def __call__(self, key: str, **values: object) -> str:
        """The sentence of a key with `{name}` filled in. Raises KeyError."""
        found: Any = self.entries
        for part in key.split("."):
            found = found[part]
        if isinstance(found, dict):
            found = found["one" if values["n"] == 1 else "other"]
        return str(found).format_map(values)


@cache
def languages() -> dict[str, Texts]:
    """All that there are, by code."""
    return {
        path.stem: Texts(code=path.stem, entries=tomllib.loads(path.read_text(encoding="utf-8")))
        for path in sorted(FOLDER.glob("*.toml"))
    }


def chosen(setting: str | None, accepted: str) -> Texts:
    """The language of the visitor's own setting, else the first of an Accept-Language header that there is."""
    return next((languages()[code] for code in (setting, *_ranked(accepted)) if code in languages()), _fallback())


def _fallback() -> Texts:
    return languages()[FALLBACK]


def _ranked(accepted: str) -> Iterator[str]:
    """Codes of an Accept-Language header (RFC 9110), the preferred first; what cannot be read is passed over."""
    weighed: list[tuple[float, str]] = []
    for part in accepted[:1000].split(","):
        tag, _, weight = part.partition(";q=")
        try:
            weighed.append((-float(weight or 1), tag.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    return (code for _, code in sorted(weighed, key=lambda one: one[0]))
