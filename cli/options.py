"""Options that several commands share, and what they mean once read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from vultus.configs.loader import gallery_folder, load
from vultus.configs.schema import Config

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def gallery_option(command: Decorated) -> Decorated:
    """`--gallery DIR`."""
    return click.option(
        "--gallery",
        "gallery_dir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder of the gallery.  [default: `gallery` in the user's data folder]",
    )(command)


def config_option(command: Decorated) -> Decorated:
    """`--config FILE`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        metavar="FILE",
        help="YAML configuration; docs/configuration.md lists every key.",
    )(command)


def json_option(command: Decorated) -> Decorated:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text.")(command)


def configured(config_file: Path | None, gallery_dir: Path | None) -> tuple[Config, Path]:
    """The configuration with `--gallery` laid over it, and the gallery's folder."""
    config = load(config_file)
    if gallery_dir is not None:
        config = msgspec.structs.replace(config, gallery=str(gallery_dir.absolute()))
    return config, gallery_folder(config)
