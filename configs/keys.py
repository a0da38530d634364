"""Which keys a configuration may hold, and the nearest one to a key that it may not hold."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from vultus.configs.schema import Config


def unknown(tree: object) -> list[str]:
    """A line for each key of `tree` that the schema does not have, with its full path and the nearest valid one."""
    return list(_unknown(tree, inspect.type_info(Config), ""))


def _unknown(tree: object, kind: inspect.Type, path: str) -> Iterator[str]:
    kind = _plain(kind)
    if isinstance(kind, inspect.StructType) and isinstance(tree, dict):
        fields = {field.name: field.type for field in kind.fields}
        for key, value in tree.items():
            where = f"{path}.{key}" if path else str(key)
            if key in fields:
                yield from _unknown(value, fields[key], where)
            else:
                yield f"`{where}`: unknown; {_hint(str(key), list(fields), path)}"
    elif isinstance(kind, inspect.VarTupleType) and isinstance(tree, list):
        for number, item in enumerate(tree):
            yield from _unknown(item, kind.item_type, f"{path}[{number}]")


def _plain(kind: inspect.Type) -> inspect.Type:
    """Without annotations, and of a union the part that can hold keys."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        holders = [one for one in map(_plain, kind.types) if isinstance(one, inspect.StructType | inspect.VarTupleType)]
        return holders[0] if holders else kind
    return kind


def _hint(key: str, siblings: list[str], path: str) -> str:
    near = difflib.get_close_matches(key, siblings, n=1)
    if near:
        return f"nearest valid is `{path}.{near[0]}`" if path else f"nearest valid is `{near[0]}`"
    everywhere = dict(_leaves(inspect.type_info(Config), ""))
    elsewhere = difflib.get_close_matches(key, everywhere, n=1, cutoff=0.8)
    if elsewhere:
        return f"nearest valid is `{everywhere[elsewhere[0]]}`"
    return f"valid here: {', '.join(siblings)}"


def _leaves(kind: inspect.Type, path: str) -> Iterator[tuple[str, str]]:
    """Last part and full path of every key."""
    kind = _plain(kind)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            where = f"{path}.{field.name}" if path else field.name
            yield field.name, where
            yield from _leaves(field.type, where)
    elif isinstance(kind, inspect.VarTupleType):
        yield from _leaves(kind.item_type, f"{path}[]")


def paths(kind: Any = Config) -> list[str]:
    """Every key with its full path, in the order of the schema."""
    return [where for _, where in _leaves(inspect.type_info(kind), "")]
