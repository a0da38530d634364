"""Addresses of sources without what is secret in them, for everything that prints, logs or names."""

from __future__ import annotations

import re
from pathlib import Path

_URL = re.compile(r"(?P<scheme>[A-Za-z0-9+.-]+://)(?P<rest>.*)", re.DOTALL)
_URL_IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://[^\s'\"<>]+")
# Cameras take credentials in the query (`?user=u&pwd=p`), some in the path (`/user=u_password=p_channel=1`); a value
# ends where an URL's parts do. Looking back keeps the searches linear on long runs of letters.
_PAIR = re.compile(r"(?<![A-Za-z_-])([A-Za-z_-]+)=[^&;/?#\s]+")
_SECRET = re.compile(
    r"user|usr|loginuse|pass|pas$|pwd|auth|token|secret|cred|(?:^|[_-]|api|access)(?:key|sig|signature)$", re.IGNORECASE
)


def redact(address: str) -> str:
    """An address without user and password; secrets in a query become `***`. What is no URL comes back as it is.

    Passwords hold what URLs should not (`@`, `/`, `?`), so in doubt more is taken away than needed: if an `@` follows a
    colon in the host's part, wherever it does, everything to the last `@` before the next query goes.
    """
    match = _URL.fullmatch(address)
    if match is None:
        return address
    rest = match["rest"]
    if _has_credentials(rest):
        end = re.search(r"[?#]", rest[rest.index("@") :])
        limit = len(rest) if end is None else rest.index("@") + end.start()
        rest = rest[rest.rindex("@", 0, limit) + 1 :]
    return match["scheme"] + _PAIR.sub(_without_secret, rest)


def redact_text(text: str) -> str:
    """A message in which every URL is redacted; for the texts of libraries, which like to quote the address."""
    return _URL_IN_TEXT.sub(lambda found: redact(found[0]), text)


class DatabaseUrl:
    """The address of a gallery in a database. Whatever prints it shows neither user nor password."""

    SCHEMES = ("postgresql://", "postgres://")

    def __init__(self, address: str) -> None:
        if not self.matches(address):
            raise ValueError(f"{redact(address)} does not begin with {self.SCHEMES[0]}")
        self._address = address

    @classmethod
    def matches(cls, address: str) -> bool:
        """Whether this is such an address, and not a folder."""
        return address.startswith(cls.SCHEMES)

    def reveal(self) -> str:
        """The whole address, for whoever opens the connection."""
        return self._address

    def __str__(self) -> str:
        return redact(self._address)

    def __repr__(self) -> str:
        return f"DatabaseUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and other._address == self._address

    def __hash__(self) -> int:
        return hash(self._address)


Place = Path | DatabaseUrl
"""Where a gallery is: its folder, or its database."""


def _without_secret(pair: re.Match[str]) -> str:
    return f"{pair[1]}=***" if _SECRET.search(pair[1]) else pair[0]


def _has_credentials(rest: str) -> bool:
    """Whether what follows `scheme://` starts with a user or password."""
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return "@" in host or ("@" in rest and ":" in host and not host.startswith("["))
