"""The user's own manifest, `manifest.toml` beside the models: what they added, and which licences they accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from vultus.weights.disk import write_atomically
from vultus.weights.errors import ModelRefused
from vultus.weights.manifest import Acceptance, Entry, Manifest, parse

_MOST_BYTES = 4_000_000
_HEAD = "# Models added with `vultus models add`, and licences accepted. Form: weights/manifest.py\n"


class Own:
    """Reads and writes it. Whoever changes it holds the folder (`weights/disk.py`)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "manifest.toml"

    def read(self) -> Manifest:
        """The manifest, empty where there is no file. ModelRefused for a damaged one."""
        try:
            with self.path.open("rb") as file:
                text = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return Manifest(format=1)
        if len(text) > _MOST_BYTES:
            raise ModelRefused(f"{self.path}: larger than any manifest; move it away")
        try:
            return parse(text)
        except ValueError as error:
            raise ModelRefused(f"{self.path}: {error}; repair it, or move it away and add the models again") from error

    def add(self, name: str, entry: Entry) -> None:
        """A model more, or in place of that name's."""
        own = self.read()
        self._write(msgspec.structs.replace(own, models={**own.models, name: entry}))

    def remove(self, name: str) -> None:
        """One less, and its acceptance."""
        own = self.read()
        models, accepted = ({k: v for k, v in of.items() if k != name} for of in (own.models, own.accepted))
        self._write(msgspec.structs.replace(own, models=models, accepted=accepted))

    def accept(self, name: str, licence: str) -> None:
        """Note that the user accepted this licence of a model."""
        own = self.read()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        accepted = {**own.accepted, name: Acceptance(licence=licence, at=at)}
        self._write(msgspec.structs.replace(own, accepted=accepted))

    def _write(self, manifest: Manifest) -> None:
        text = _HEAD + "\n".join(_table((), msgspec.to_builtins(manifest))) + "\n"
        parse(text.encode())  # what is written can be read
        write_atomically(self.path, text.encode())


def _table(path: tuple[str, ...], tree: Mapping[str, Any]) -> list[str]:
    """The lines of a TOML table: its own values first, then the tables in it."""
    plain = any(not isinstance(value, dict) for value in tree.values())
    lines = [f"[{'.'.join(map(_key, path))}]"] if path and plain else []
    lines += [f"{key} = {_value(value)}" for key, value in tree.items() if not isinstance(value, dict)]
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += ["", *_table((*path, key), value)]
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(item)}' for key, item in value.items() if item is not None)} }}"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """A basic string, whose escapes are JSON's (toml.io, v1.0.0, "String"); the manifest's texts hold no DEL."""
    return json.dumps(value, ensure_ascii=False)
