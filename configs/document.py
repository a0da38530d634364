"""YAML text to plain values, strictly: no aliases, no doubled keys, no tags, bounded size and depth."""

from __future__ import annotations

from typing import Any

import yaml

from vultus.configs.errors import ConfigError

_MAX_DEPTH = 16
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: bytes, name: str) -> Any:
    """The one document in `text`; None if it is empty. ConfigError with `name`, line and column.

    Aliases are refused rather than bounded: nine short lines of them stand for gigabytes, and no key here needs one.
    Depth is checked on the stream of events, before anything that recurses sees the text.
    """
    try:
        _check_events(text, name)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_keys(node, "", name)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = _where(name, error.problem_mark or error.context_mark)
        raise ConfigError(f"{where}: {error.problem or error.context or 'not YAML'}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{name}: not YAML ({' '.join(str(error).split())})") from error


def _check_events(text: bytes, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{_where(name, event.start_mark)}: aliases (`*name`) are not used here; write the value out"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{_where(name, event.start_mark)}: nested deeper than {_MAX_DEPTH}")


def _check_keys(node: yaml.Node, path: str, name: str) -> None:
    """YAML itself would let the last of two equal keys win, silently."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _check_keys(item, f"{path}[{number}]", name)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            where = f"{path}.{key.value}" if path else str(key.value)
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise ConfigError(f"{_where(name, key.start_mark)}: a key is a plain word, not {key.value!r}")
            if key.value in seen:
                raise ConfigError(
                    f"{_where(name, key.start_mark)}: `{where}` was given before, in line {seen[key.value]}"
                )
            seen[key.value] = key.start_mark.line + 1
            _check_keys(value, where, name)


def _where(name: str, mark: Any) -> str:
    return name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
