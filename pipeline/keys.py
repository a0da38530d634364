"""This machine's own pair of keys for the network: made once, kept in a file that nobody else may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from msgspec import Struct

from vultus.configs.schema import Config
from vultus.pipeline.errors import KeysRefused
from vultus.pipeline.transport import new_keys, public_key

_HEAD = "vultus network key; the secret one stays on this machine"
_MAX_BYTES = 1000


class Keys(Struct, frozen=True):
    """A CURVE pair in Z85, 40 characters each."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"Keys(public={self.public!r})"


def create(path: Path) -> Keys:
    """A fresh pair in a new file of mode 0600. Raises FileExistsError rather than lose a key that others know."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    keys = Keys(*new_keys())
    with open(fd, "w", encoding="ascii") as file:
        file.write(f"# {_HEAD}\npublic {keys.public}\nsecret {keys.secret}\n")
        file.flush()
        os.fsync(fd)
    return keys


def read(path: Path) -> Keys:
    """The pair in a file; raises KeysRefused if it is not there, is none, or may be read by others."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_BYTES).decode("ascii", "replace")
    except OSError as error:
        what = "there is none; `vultus keys new` makes it" if isinstance(error, FileNotFoundError) else error.strerror
        raise KeysRefused(f"the key file {path}: {what}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeysRefused(f"the key file {path} may be read by others: chmod 600 {path}, or make a new one")
    lines = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    try:
        keys = Keys(public_key(lines["secret"]), lines["secret"])
    except (KeyError, ValueError, OSError):
        raise KeysRefused(f"the key file {path} holds no key of `vultus keys new`") from None
    if lines.get("public") != keys.public:
        raise KeysRefused(f"the key file {path} was changed: its public key is not that of its secret key")
    return keys


def of_main(config: Config, path: Path) -> Keys:
    """The keys in `path`, if they are those of the main machine; raises KeysRefused otherwise."""
    keys = read(path)
    if keys.public != config.network.main_key:
        raise KeysRefused(
            f"this is not the main machine: `network.main_key` is {config.network.main_key}, and {path} holds {keys.public}"
        )
    return keys


def host_of(config: Config, keys: Keys) -> str:
    """The name by which the configuration knows the holder of these keys; raises KeysRefused if it does not."""
    for host in config.network.hosts:
        if host.key == keys.public:
            return host.name
    raise KeysRefused(
        f"`network.hosts` of the configuration does not list this machine's key {keys.public}; add it there, and on the "
        "main machine"
    )
