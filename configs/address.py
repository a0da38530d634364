"""Addresses of sources without what is secret in them, for everything that prints, logs or names."""

from __future__ import annotations

import re

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>.*)", re.DOTALL)
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_PORT = re.compile(r":\d{0,5}\Z")
# Cameras take credentials in the query (`?user=u&pwd=p`) and some in the path (`/user=u_password=p_channel=1`).
# The letters before a key are looked at so that `monkey=` is no `key=`; the value ends where an URL's parts do.
_SECRET = re.compile(
    r"(?i)(?<![a-z])((?:user|pass|usr|pwd|login|auth|token|secret|key|sig|api_?key|access_?key|access_?token|auth_?token)"
    r"(?:name|word|wd|nature)?)=[^&;/?#\s]*"
)


def redact(address: str) -> str:
    """An address without user and password; secrets in a query become `***`. What is no URL comes back as it is.

    Passwords hold what URLs should not (`@`, `/`), so in doubt more is taken away than needed: with credentials before
    the host, everything to the last `@` before the query goes.
    """
    match = _URL.fullmatch(address)
    if match is None:
        return address
    rest = match["rest"]
    if _has_credentials(rest):
        end = re.search(r"[?#]", rest[rest.index("@") :])
        limit = len(rest) if end is None else rest.index("@") + end.start()
        rest = rest[rest.rindex("@", 0, limit) + 1 :]
    return match["scheme"] + _SECRET.sub(r"\1=***", rest)


def redact_text(text: str) -> str:
    """A message in which every URL is redacted; for the texts of libraries, which like to quote the address."""
    return _URL_IN_TEXT.sub(lambda found: redact(found[0]), text)


def _has_credentials(rest: str) -> bool:
    """Whether what follows `scheme://` starts with user or password: an `@` in the host's part, or one further on after
    a colon that no port follows (a password with a slash or a question mark in it)."""
    if "@" not in rest:
        return False
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return "@" in host or (":" in host and not host.startswith("[") and _PORT.search(host) is None)
