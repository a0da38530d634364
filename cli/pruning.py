"""What is old is deleted: by `vultus gallery prune`, and regularly while cameras are watched."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from vultus.cli.console import line, print_json, say
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.address import Place
from vultus.configs.schema import Config
from vultus.index import GalleryError, Pruned
from vultus.index.configured import open_gallery
from vultus.index.pruning import Pruning

_days = click.FloatRange(0, 36_500, min_open=True)


def _said(pruned: Pruned) -> str:
    parts = (
        (pruned.shots, "picture of sightings", "pictures of sightings"),
        (pruned.sightings, "sighting", "sightings"),
        (pruned.strangers, "face of strangers", "faces of strangers"),
        (pruned.changes, "row of the journal", "rows of the journal"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in parts if count)


def pruning(config: Config) -> Pruning:
    """While inside, the gallery is pruned, and what was deleted is said."""

    def prune_now() -> Pruned:
        with open_gallery(config) as gallery:
            return gallery.prune(config.retention)

    def tell(found: Pruned | GalleryError) -> None:
        if isinstance(found, GalleryError):
            say(f"what is old is deleted later: {found}", style="yellow")
        else:
            say(f"deleted because it was old: {_said(found)}")

    return Pruning(prune_now, tell)


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
    """Delete what is older than so many DAYS. The options say them, or else `retention` in the configuration.

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
