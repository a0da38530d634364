"""What is old is deleted: by `vultus gallery prune`, and regularly while cameras are watched."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import click
import msgspec

from vultus.cli.console import line, print_json, say
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.address import Place
from vultus.configs.schema import Config
from vultus.index import GalleryError, Pruned
from vultus.index.configured import open_gallery

_EVERY = 3600.0
"""Seconds."""
_days = click.FloatRange(0, 36_500, min_open=True)


def _said(pruned: Pruned) -> str:
    parts = (
        (pruned.shots, "picture of sightings", "pictures of sightings"),
        (pruned.sightings, "sighting", "sightings"),
        (pruned.strangers, "face of strangers", "faces of strangers"),
        (pruned.changes, "row of the journal", "rows of the journal"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in parts if count)


class Pruning:
    """While inside, the gallery is pruned at once and then every hour."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vultus-pruning", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                with open_gallery(self._config) as gallery:
                    pruned = gallery.prune(self._config.retention)
                if pruned:
                    say(f"deleted because it was old: {_said(pruned)}")
            except GalleryError as error:
                say(f"what is old is deleted later: {error}", style="yellow")
            if self._end.wait(_EVERY):
                return


@click.command()
@click.option("--shots", "shots_days", type=_days, metavar="DAYS", help="Pictures of sightings.  [default: 30]")
@click.option("--sightings", "sightings_days", type=_days, metavar="DAYS", help="Sightings.  [default: never]")
@click.option(
    "--strangers",
    "strangers_days",
    type=_days,
    metavar="DAYS",
    help="Faces of unknown people that were kept while watching.  [default: never]",
)
@click.option("--journal", "journal_days", type=_days, metavar="DAYS", help="The journal of changes.  [default: 365]")
@gallery_option
@config_option
@json_option
def prune(gallery_dir: Place | None, config_file: Path | None, as_json: bool, **days: float | None) -> None:
    """Delete what is older than so many DAYS, of the options or else of `retention` in the configuration.

    `vultus watch` does so by itself, at its begin and once an hour. What is deleted is gone from the files as well;
    `vultus gallery compact` gives the space back.

    \b
      vultus gallery prune --sightings 90 --shots 7
    """
    config, folder = configured(config_file, gallery_dir)
    given = {name: value for name, value in days.items() if value is not None}
    with open_gallery(config) as gallery:
        pruned = gallery.prune(msgspec.structs.replace(config.retention, **given))
    if as_json:
        print_json(pruned)
    else:
        line(f"{folder}: deleted {_said(pruned) or 'nothing'}")
