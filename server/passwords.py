"""Passwords and keys at rest, and which passwords are too easy to guess.

Hashed with scrypt in one of the settings that OWASP's Password Storage Cheat Sheet gives as its minimum and as equally
strong: N=2^15, r=8, p=3, which takes 32 MiB and a quarter of a second of one core here. The settings are stored with
each hash, so that they can be raised; whoever signs in then gets a hash with the new ones.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata
from functools import cache
from importlib.resources import files

from msgspec import Struct

from vultus.server.errors import WeakPassword

LEAST = 12
MOST = 128
_ODD = 5
"""Of so many parts, each a common password or a letter, a password has to be made at least."""
_WORD = 24
_LOOKS_LIKE = str.maketrans("@4310$57!8", "aaeiosstib")


class Cost(Struct, frozen=True):
    """What guessing once costs: `128 * r * n` bytes, and time in proportion to that times `p`."""

    n: int
    r: int
    p: int


PASSWORDS = Cost(1 << 15, 8, 3)
KEYS = Cost(1 << 14, 8, 1)
"""Keys are 256 random bits, which nobody guesses at any cost."""


def hashed(secret: str, cost: Cost) -> str:
    """A new hash with its own salt: `scrypt$N$r$p$salt$hash`."""
    salt = os.urandom(16)
    parts = (base64.b64encode(part).decode() for part in (salt, _scrypt(secret, salt, cost)))
    return "$".join(("scrypt", str(cost.n), str(cost.r), str(cost.p), *parts))


def matches(secret: str, stored: str) -> bool:
    """Whether a hash is of this secret, in a time that does not depend on where they differ."""
    kind, n, r, p, salt, digest = stored.split("$")
    assert kind == "scrypt"
    found = _scrypt(secret, base64.b64decode(salt), Cost(int(n), int(r), int(p)))
    return hmac.compare_digest(found, base64.b64decode(digest))


def outdated(stored: str, cost: Cost) -> bool:
    """Whether a hash was made at another cost."""
    return stored.split("$")[1:4] != [str(cost.n), str(cost.r), str(cost.p)]


def demand_strong(password: str, name: str) -> None:
    """Raise WeakPassword (a ValueError) for one that should not be `name`'s, with a sentence for people."""
    if len(password) < LEAST:
        raise WeakPassword(f"a password has at least {LEAST} characters; a few words in a row are easy to remember")
    if len(password) > MOST:
        raise WeakPassword(f"a password has at most {MOST} characters")
    if not password.isprintable():
        raise WeakPassword("a password has no control characters")
    plain = unicodedata.normalize("NFKC", password).casefold()
    if _parts(plain, name) < _ODD:
        raise WeakPassword(
            "that password is among the first that anybody would try: common ones, rows of keys, the name"
        )


def _parts(password: str, name: str) -> int:
    """The fewest parts that make a password: words that everybody tries, rows like `aaa` or `1234`, single characters."""
    tried = _common() | {name.casefold(), "vultus"}
    best = [0] * (len(password) + 1)
    for end in range(1, len(password) + 1):
        step = ord(password[end - 1]) - ord(password[end - 2]) if end > 1 else 2
        best[end] = best[end - 1] + (abs(step) > 1)
        for begin in range(max(0, end - _WORD), end - 2):
            word = password[begin:end]
            if word in tried or word.translate(_LOOKS_LIKE) in tried:
                again = begin >= len(word) and password[begin - len(word) : begin] == word
                best[end] = min(best[end], best[begin] + (not again))
    return best[-1]


@cache
def _common() -> frozenset[str]:
    text = files("vultus.server").joinpath("common_passwords.txt").read_text("ascii")
    return frozenset(line for line in text.splitlines() if not line.startswith("# "))


def _scrypt(secret: str, salt: bytes, cost: Cost) -> bytes:
    plain = unicodedata.normalize("NFKC", secret).encode()
    memory = 128 * cost.r * (cost.n + cost.p + 2)
    return hashlib.scrypt(plain, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=memory, dklen=32)
