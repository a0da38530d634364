"""Names of people: how they are stored, and how they are looked for."""

from __future__ import annotations

import unicodedata

MAX_NAME = 200
_ACCENT = 200
"""Combining classes from this one on are marks above, below or through a letter; those below are letters of their script."""


def clean_name(name: str, what: str = "a name") -> str:
    """Return a name, of a person or of `what`, as it is stored: NFC, no space at the ends. ValueError for what is none."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {type(name).__name__}")
    clean = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(clean) <= MAX_NAME:
        raise ValueError(f"{what} must have 1 to {MAX_NAME} characters, this one has {len(clean)}")
    for character in "" if clean.isascii() and clean.isprintable() else clean:
        # Control characters and line separators would break tables; lone surrogates cannot be stored.
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(f"{what} must not hold the control character U+{ord(character):04X}, as {clean!a} does")
    return clean


def folded(name: str) -> str:
    """Return what names are compared by where case, accents and width do not count: "Zoë" and "ZOE" are one."""
    if name.isascii():
        return name.casefold()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(character for character in apart if unicodedata.combining(character) < _ACCENT)
