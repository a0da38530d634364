"""Vectors, pictures and the snapshot under a key: AES-256-GCM of the library `cryptography` (`vultus[crypto]`).

The user's key opens a key of the gallery's own, kept in `gallery.sealed`; with that everything else is sealed, so that
another user's key means writing 60 bytes anew. A sealed value is a nonce of 12 random bytes, the ciphertext, and 16 bytes
that tell a wrong key, a flipped bit, or a value that was put in the place of another: what it is and the number of its
face (of a picture of a sighting its own) are authenticated with it. With random nonces one key is good for 2^32 values
(NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from vultus.index.errors import GalleryCorrupt, WrongKey

KEY_BYTES = 32
OVERHEAD = 28
"""Bytes by which a sealed value is longer."""
VECTOR = b"vector"
CHIP = b"chip"
SHOT = b"shot"
_NONCE = 12


class Seal:
    """The key of a gallery."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = _cipher(key)

    @classmethod
    def new(cls) -> Seal:
        """Make a key for a gallery."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def opened(cls, sealed: bytes, key: bytes, uid: bytes, where: str) -> Seal:
        """Return the gallery's key, which `key` opens. Raises WrongKey."""
        try:
            return cls(_cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], b"gallery" + uid))
        except _invalid() as error:
            raise WrongKey(f"{where} was encrypted with another key than the one given; nothing was read") from error

    def under(self, key: bytes, uid: bytes) -> bytes:
        """Return this key sealed under the user's."""
        nonce = os.urandom(_NONCE)
        return nonce + bytes(_cipher(key).encrypt(nonce, self._key, b"gallery" + uid))

    def close(self, what: bytes, numbers: Iterable[int], values: Iterable[bytes | memoryview]) -> Iterable[bytes]:
        """Yield values sealed, each as what it is and of which number."""
        cipher = self._cipher
        for value, number in zip(values, numbers, strict=False):  # the numbers may be endless
            nonce = os.urandom(_NONCE)
            yield nonce + cipher.encrypt(nonce, value, what + struct.pack("<q", number))

    def open(self, what: bytes, numbers: Sequence[int], values: Sequence[bytes]) -> list[bytes]:
        """Return sealed values as they were; empty where one is damaged, or not what and whose it is said to be."""
        cipher = self._cipher
        invalid: tuple[type[Exception], ...] = (*_invalid(), ValueError)
        opened = []
        for number, value in zip(numbers, values, strict=True):
            try:
                opened.append(cipher.decrypt(value[:_NONCE], value[_NONCE:], what + struct.pack("<q", number)))
            except invalid:
                opened.append(b"")
        return opened


def opened(seal: Seal | None, what: bytes, numbers: Sequence[int], values: Sequence[bytes]) -> Sequence[bytes]:
    """Return stored values as they were given."""
    return values if seal is None else seal.open(what, numbers, values)


def opened_chip(seal: Seal | None, face: int, stored: bytes | None) -> bytes | None:
    """Return a stored picture as it was given. Raises GalleryCorrupt."""
    if seal is None or stored is None:
        return stored
    (chip,) = seal.open(CHIP, [face], [stored])
    if not chip:
        raise GalleryCorrupt(f"the picture of face {face} is damaged; remove the face or restore a backup")
    return chip


def closed(
    seal: Seal | None, what: bytes, numbers: Iterable[int], values: Iterable[bytes | memoryview]
) -> Iterable[bytes | memoryview]:
    """Return values as they are stored."""
    return values if seal is None else seal.close(what, numbers, values)


def check_key(key: bytes) -> bytes:
    """Return the key. Raises ValueError unless it has 32 bytes."""
    if not (isinstance(key, bytes) and len(key) == KEY_BYTES):
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return key


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise WrongKey("an encrypted gallery needs the library cryptography: pip install 'vultus[crypto]'") from error
    return AESGCM(key)


def _invalid() -> tuple[type[Exception], ...]:
    from cryptography.exceptions import InvalidTag

    return (InvalidTag,)
