"""Secrets of the server at rest (camera addresses, webhook secrets, passwords of brokers) under a key that is not with them.

All of them lie in one table, by name: AES-256-GCM of the library `cryptography`, a nonce of 12 random bytes before the
ciphertext, the name authenticated with it, so that nobody who may write the file can put one secret in another's place.
The row without a name holds a known text, by which a wrong key is told at the start. A change of the key seals every row
anew in one transaction; the new key waits in `KEY_FILE.new` until that is on the disk, and `open` finishes what a crash
interrupted. With random nonces one key is good for 2^32 secrets (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vultus.configs.errors import ConfigError
from vultus.configs.loader import read_key, server_key, server_key_file
from vultus.configs.schema import Config
from vultus.server.errors import VaultError, WrongSetup
from vultus.server.store import Store

_CHECK, _KNOWN = "", "vultus"
_KEY_BYTES, _NONCE = 32, 12


class Vault:
    """Seals and opens. For any thread."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store, self._cipher = store, AESGCM(key)

    @classmethod
    def open(cls, config: Config, store: Store) -> Vault:
        """With the key of the environment or of the key file, which is made if there are no secrets yet.

        Raises WrongSetup if the secrets were sealed with another key, or the key is missing.
        """
        given = server_key()
        path = server_key_file(config)
        if given is None:
            given = _from_file(path, may_make=not _sealed(store))
        vault = cls(store, given)
        if vault._begin():
            return vault
        waiting = _new(path)
        if server_key() is None and waiting.exists():
            vault = cls(store, _read(waiting))
            if vault._begin():  # a change of the key was cut off after the secrets, before the file
                _into_place(waiting, path)
                return vault
        where = "VULTUS_SERVER_KEY" if server_key() is not None else str(path)
        raise WrongSetup(
            f"{where} is not the key that the secrets in {store.folder} were sealed with; give the right one, "
            "or let `vultus secrets forget` delete the secrets"
        )

    def keep(self, connection: sqlite3.Connection, name: str, text: str) -> None:
        """Seal a text in the caller's transaction, in place of what had the name. Raises VaultError."""
        if not name:
            raise ValueError("a secret needs a name")
        self._check(connection)
        self._put(connection, name, text)

    def forget(self, connection: sqlite3.Connection, name: str) -> None:
        """Delete it in the caller's transaction; nothing happens if there is none."""
        if name:
            connection.execute("DELETE FROM secrets WHERE name = ?", (name,))

    def reveal(self, name: str) -> str:
        """The text of that name. Raises KeyError if there is none, VaultError if it cannot be opened."""
        with self._store.read() as connection:
            row = connection.execute("SELECT sealed FROM secrets WHERE name = ?", (name,)).fetchone()
        if row is None or not name:
            raise KeyError(name)
        return self._opened(name, row[0])

    def change_key(self, key: bytes) -> None:
        """Seal everything anew, in one transaction. A server that runs meanwhile keeps no secret any more until it is
        started again. Raises VaultError if one cannot be opened; nothing is changed then."""
        after = Vault(self._store, key)
        with self._store.write() as connection:
            for name, sealed in connection.execute("SELECT name, sealed FROM secrets").fetchall():
                after._put(connection, name, self._opened(name, sealed))
        self._cipher = after._cipher

    def _begin(self) -> bool:
        """Whether the key is the right one, which the first one always is."""
        with self._store.write() as connection:
            row = connection.execute("SELECT sealed FROM secrets WHERE name = ?", (_CHECK,)).fetchone()
            if row is None:
                self._put(connection, _CHECK, _KNOWN)
                return True
            try:
                return self._opened(_CHECK, row[0]) == _KNOWN
            except VaultError:
                return False

    def _check(self, connection: sqlite3.Connection) -> None:
        """What is sealed with an old key would be lost."""
        row = connection.execute("SELECT sealed FROM secrets WHERE name = ?", (_CHECK,)).fetchone()
        if row is None:
            raise VaultError("the secrets were deleted while the server ran; start it again")
        self._opened(_CHECK, row[0])

    def _put(self, connection: sqlite3.Connection, name: str, text: str) -> None:
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), name.encode())
        connection.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?)", (name, sealed))

    def _opened(self, name: str, sealed: bytes) -> str:
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode()).decode()
        except (InvalidTag, ValueError):
            raise VaultError(
                f"the secret {name or 'of the key'!r} cannot be opened: the key was changed while the server ran (start it "
                "again), or the file was (give the secret anew)"
            ) from None


def rotate(config: Config, store: Store, to: Path | None = None) -> Path:
    """Seal all secrets under another key: that in the file `to`, else a fresh one in the place of the key file's.

    Returns where the new key is. Raises WrongSetup, VaultError, ConfigError for a `to` that holds no key.
    """
    vault = Vault.open(config, store)
    if to is not None:
        vault.change_key(read_key(to))
        return to
    if server_key() is not None:
        raise WrongSetup(
            "VULTUS_SERVER_KEY gives the key, so a file with the new one is needed; set the variable to it then"
        )
    path = server_key_file(config)
    waiting = _new(path)
    waiting.unlink(missing_ok=True)
    vault.change_key(_made(waiting))
    _into_place(waiting, path)
    return path


def forget_all(store: Store) -> int:
    """Delete every secret, for whoever lost the key; how many there were. The next start makes or takes a new key."""
    with store.write() as connection:
        count = connection.execute("DELETE FROM secrets").rowcount
    return max(0, count - 1)


def _sealed(store: Store) -> bool:
    with store.read() as connection:
        return connection.execute("SELECT 1 FROM secrets LIMIT 1").fetchone() is not None


def _from_file(path: Path, *, may_make: bool) -> bytes:
    if may_make and not path.exists():
        return _made(path)
    if not path.exists() and _new(path).exists():
        return _read(_new(path))
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        key = read_key(path)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise WrongSetup(f"the key file {path} went away") from None
    except ConfigError as error:
        raise WrongSetup(
            f"{error}; without the key the server's secrets cannot be read: bring the file back, or let "
            "`vultus secrets forget` delete them"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise WrongSetup(f"the key file {path} may be read by others: chmod 600 {path}")
    return key


def _made(path: Path) -> bytes:
    """A fresh key in a new file for this user's eyes only."""
    key = os.urandom(_KEY_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)
    return key


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _into_place(waiting: Path, path: Path) -> None:
    os.replace(waiting, path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
