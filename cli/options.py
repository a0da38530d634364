"""Options that several commands share, and what they mean once read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from vultus.configs.address import DatabaseUrl, Place
from vultus.configs.loader import gallery_place, load
from vultus.configs.schema import Config

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _GalleryPlace(click.ParamType[Place]):
    """A folder, or the address of a database."""

    name = "gallery"

    def convert(self, value: str | Place, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        if not isinstance(value, str):
            return value
        if DatabaseUrl.matches(value):
            return DatabaseUrl(value)
        path: Path = click.Path(path_type=Path, file_okay=False).convert(value, param, ctx)
        return path


def gallery_option(command: Decorated) -> Decorated:
    """`--gallery DIR|URL`."""
    return click.option(
        "--gallery",
        "gallery_dir",
        type=_GalleryPlace(),
        metavar="DIR|URL",
        help="Folder of the gallery, or postgresql://USER@HOST/DATABASE.  [default: `gallery` in the user's data folder]",
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


def detector_option(command: Decorated) -> Decorated:
    """`--detector NAME`."""
    return click.option(
        "--detector",
        metavar="NAME",
        help="Find faces with this model; `vultus models list` has their names.  [default: models.detector, yunet_2023mar]",
    )(command)


def json_option(command: Decorated) -> Decorated:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text.")(command)


def configured(
    config_file: Path | None, gallery_dir: Place | None, detector: str | None = None
) -> tuple[Config, Place]:
    """The configuration with `--gallery` and `--detector` laid over it, and where the gallery is."""
    config = load(config_file)
    if detector is not None:
        config = msgspec.structs.replace(config, models=msgspec.structs.replace(config.models, detector=detector))
    if gallery_dir is not None:
        given = gallery_dir.reveal() if isinstance(gallery_dir, DatabaseUrl) else str(gallery_dir.absolute())
        config = msgspec.structs.replace(config, gallery=given)
    return config, gallery_place(config)
