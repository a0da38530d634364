"""From a YAML file, options and the environment to a checked `Config`; the only reader of environment variables.

Environment variables: `VULTUS_HOME` names the data folder (models, sample photographs, the default gallery),
`VULTUS_GALLERY_KEY` is the key of an encrypted gallery, `VULTUS_SERVER_KEY` that of the server's secrets; others are read
only where the address of a source or of the gallery, or the password of the broker, asks for them as `${NAME}`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
import platformdirs

from vultus.configs import keys
from vultus.configs.address import DatabaseUrl, Place, redact
from vultus.configs.errors import ConfigError
from vultus.configs.schema import Config

Shipped = Literal["default", "one-camera", "several-cameras", "archive", "two-machines"]

_MAX_BYTES = 1_000_000
_KEY_BYTES = 32
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
_AT = re.compile(r"(?P<what>.*) - at `\$\.?(?P<path>.*)`", re.DOTALL)


def load(path: Path | None = None, overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration in `path` (none: the defaults), with `overrides` laid over it, e.g. `{"detect.score": 0.6}`.

    Raises ConfigError, a ValueError whose text starts with the file's name, for a file that cannot be read or is no
    YAML, unknown keys (with the nearest valid one), values of the wrong type or out of range, and missing variables.
    """
    name = "configuration" if path is None else str(path)
    tree: Any = {}
    if path is not None:
        from vultus.configs import document  # a stage process gets its configuration whole, and reads no YAML

        tree = document.parse(_read(path), name)
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: a configuration is a mapping of keys, not a {type(tree).__name__}")
    for key, value in (overrides or {}).items():
        _override(tree, key, value, name)
    wrong = keys.unknown(tree)
    if wrong:
        raise ConfigError(f"{name}: " + "; ".join(wrong))
    _fill_in_variables(tree, name)
    try:
        return msgspec.convert(tree, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explained(str(error))}") from None  # its context would show the whole tree


def dump(config: Config) -> str:
    """A configuration as YAML, for people: complete, with addresses redacted, so it may be printed."""
    tree = msgspec.to_builtins(config)
    for source in tree["sources"]:
        source["address"] = redact(source["address"])
    if config.gallery is not None:
        tree["gallery"] = redact(config.gallery)
    if config.serve.mqtt.password is not None:
        tree["serve"]["mqtt"]["password"] = "***"  # noqa: S105 - a word in place of one
    return msgspec.yaml.encode(tree).decode()


def data_folder() -> Path:
    """Where models, sample photographs and the default gallery live: `VULTUS_HOME`, or the user's data folder."""
    home = os.environ.get("VULTUS_HOME")
    return Path(home).expanduser().absolute() if home else platformdirs.user_data_path("vultus")


def gallery_place(config: Config) -> Place:
    """Where the gallery is: its folder (a relative one is relative to the current folder), or its database."""
    if config.gallery is None:
        return data_folder() / "gallery"
    if DatabaseUrl.matches(config.gallery):
        return DatabaseUrl(config.gallery)
    return Path(config.gallery).expanduser().absolute()


def network_key_file(config: Config) -> Path:
    """Where this machine's keys for the network lie."""
    given = config.network.key_file
    return data_folder() / "network.key" if given is None else Path(given).expanduser().absolute()


def server_folder(config: Config) -> Path:
    """Where the server keeps what is its own."""
    given = config.serve.folder
    return data_folder() / "server" if given is None else Path(given).expanduser().absolute()


def server_key_file(config: Config) -> Path:
    """Where the key of the server's secrets lies, unless the environment gives it."""
    given = config.serve.key_file
    return server_folder(config) / "secrets.key" if given is None else Path(given).expanduser().absolute()


def server_key() -> bytes | None:
    """The 32 bytes of the key of the server's secrets, if the environment gives it. Raises ConfigError."""
    return _key_of_environment("VULTUS_SERVER_KEY")


def backup_folder(config: Config) -> Path:
    """Where the server's copies of the gallery go."""
    given = config.serve.backup.folder
    return server_folder(config) / "backups" if given is None else Path(given).expanduser().absolute()


def gallery_key(config: Config) -> bytes | None:
    """The 32 bytes of the key of an encrypted gallery; none if none is configured. Raises ConfigError."""
    given = _key_of_environment("VULTUS_GALLERY_KEY")
    if given is not None or config.store.key_file is None:
        return given
    return read_key(Path(config.store.key_file).expanduser().absolute())


def read_key(path: Path) -> bytes:
    """The key in a file: 64 hexadecimal digits, or 32 bytes. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return _key(file.read(_KEY_BYTES * 4), f"the key file {path}")
    except OSError as error:
        raise ConfigError(f"the key file {path}: {error.strerror or error}") from error


def _key_of_environment(name: str) -> bytes | None:
    given = os.environ.get(name)
    return None if given is None else _key(given.encode("utf-8", "surrogateescape"), f"the environment variable {name}")


def _key(given: bytes, where: str) -> bytes:
    """Never tells what it was given."""
    if len(given) == _KEY_BYTES:
        return given
    try:
        key = bytes.fromhex(given.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{where} holds no key, which is {2 * _KEY_BYTES} hexadecimal digits") from None
    return key


def shipped(name: Shipped) -> str:
    """The text of a file that comes with the program: the commented defaults, or an example."""
    folder = files("vultus.configs")
    file = folder / "default.yaml" if name == "default" else folder / "examples" / f"{name}.yaml"
    return file.read_text(encoding="utf-8")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes, so hardly a configuration")
    return data


def _override(tree: dict[str, Any], key: str, value: object, name: str) -> None:
    *folders, last = key.split(".")
    for folder in folders:
        inner = tree.setdefault(folder, {})
        if inner is None:  # `detect:` with nothing below it
            inner = tree[folder] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: `{key}` cannot be set, because `{folder}` holds a {type(inner).__name__}")
        tree = inner
    tree[last] = value


def _fill_in_variables(tree: dict[str, Any], name: str) -> None:
    """Replace `${NAME}` in addresses. Values never get into a message."""
    gallery = tree.get("gallery")
    if isinstance(gallery, str) and DatabaseUrl.matches(gallery):
        tree["gallery"] = _filled_in(gallery, f"{name}: `gallery`")
    sources = tree.get("sources")
    for number, source in enumerate(sources if isinstance(sources, list | tuple) else ()):
        if isinstance(source, dict) and isinstance(source.get("address"), str):
            source["address"] = _filled_in(source["address"], f"{name}: `sources[{number}].address`")
    serve = tree.get("serve")
    mqtt = serve.get("mqtt") if isinstance(serve, dict) else None
    if isinstance(mqtt, dict) and isinstance(mqtt.get("password"), str):
        mqtt["password"] = _filled_in(mqtt["password"], f"{name}: `serve.mqtt.password`")


def _filled_in(address: str, where: str) -> str:
    userinfo = _USERINFO.match(address)

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(f"{where}: the environment variable {match[1]} is not set")
        # A password may hold `@` or `/`, which would end it early; `%` stays, for values that are encoded already.
        inside = userinfo is not None and match.end() <= userinfo.end()
        return quote(found, safe="%!$&'()*+,;=:") if inside else found

    filled = _VARIABLE.sub(value, address)
    if "${" in _VARIABLE.sub("", address):
        raise ConfigError(f"{where}: `${{` is not followed by a variable's name and `}}`")
    return filled


def _explained(message: str) -> str:
    """msgspec's message with the key first: `detect.max_side`: expected `int`, got `str`."""
    match = _AT.fullmatch(message)
    if match is None:
        return message
    what = match["what"][:1].lower() + match["what"][1:]
    return f"`{match['path']}`: {what}" if match["path"] else what
