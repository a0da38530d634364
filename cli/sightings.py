"""`vultus sightings`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import click
from msgspec import structs

from vultus.cli.console import clock, line, print_json, say, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.pages import write
from vultus.cli.picture import Tile, picture_file, save_sheet
from vultus.cli.shots_page import Entry, page, who
from vultus.configs.address import Place
from vultus.index import Gallery, Sighting
from vultus.index.configured import open_gallery
from vultus.index.store import private
from vultus.index.veil import Veil
from vultus.stages.chip import veiled

_PAGE = 1000


def _page_or_picture(ctx: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and file.suffix.lower() == ".html":
        if not file.absolute().parent.is_dir():
            raise click.BadParameter(f"there is no folder {file.absolute().parent}")
        return file
    return picture_file(ctx, parameter, file)


@click.command()
@gallery_option
@config_option
@click.option("--number", type=click.IntRange(min=1), metavar="N", help="Only the sighting of this number.")
@click.option("--since", type=click.IntRange(min=0), default=0, show_default=True, help="Only later numbers than this.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--source", help="Only of the camera or file of that name.")
@click.option("--person", help="Only of this person, by name or number.")
@click.option("--follow", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.05, 3600), default=0.5, show_default=True, help="Seconds between looks."
)
@click.option(
    "--out",
    "out_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_page_or_picture,
    metavar="FILE",
    help="Write them with their clearest pictures: a page (.html), or a sheet of faces (.jpg, .png).",
)
@json_option
def sightings(
    gallery_dir: Place | None,
    config_file: Path | None,
    number: int | None,
    since: int,
    limit: int | None,
    source: str | None,
    person: str | None,
    follow: bool,
    every: float,
    out_file: Path | None,
    as_json: bool,
) -> None:
    """Who was seen, in the order in which it was decided.

    Every sighting has a number, and nothing that is decided later gets a lower one. A program that was away goes on with
    `--since LAST_NUMBER` and misses nothing. A sighting that is corrected (a stranger who was recognised after all) comes
    again under a new number, in place of the former; run, source and track tell which one it is.

    With --json each is one line: number, run, source, track, time (UTC), position (seconds into a file, else null),
    identity, name, similarity, quality, box [x, y, w, h].

    \b
      vultus sightings --person "Ada Lovelace" --out ada.html     a page with the clearest pictures of each visit
      vultus sightings --number 17 --out 17.jpg                   the pictures of one

    Of each sighting `match.shots` pictures (3) are kept for `retention.shots_days` (30). `privacy` of the configuration names
    whose faces are made unrecognisable in what --out writes. `vultus gallery prune` deletes what is old.
    """
    if out_file is not None and follow:
        raise click.UsageError("--out writes what there is now; --follow never ends")
    if number is not None:
        since, limit = number - 1, 1
    config, _ = configured(config_file, gallery_dir)
    entries: list[Entry] = []
    with open_gallery(config) as gallery:
        identity = None if person is None else _number(gallery, person)
        veil, left = Veil(config.privacy), limit
        while True:
            found = gallery.sightings(
                since, _PAGE if left is None else min(left, _PAGE), source=source, identity=identity
            )
            if number is not None and [one.id for one in found] != [number]:
                raise click.ClickException(
                    f"there is no sighting {number}, or no longer: a correction gives it a new number"
                )
            for one in found:
                _print(one, as_json=as_json)
                since = one.id
                if out_file is not None:
                    entries.append(_entry(gallery, one, veil))
            left = None if left is None else left - len(found)
            if left == 0 or (len(found) < _PAGE and not follow):
                break
            if not found:
                Event().wait(every)
    if out_file is not None:
        _write(entries, out_file)
    elif not as_json and number is None:
        say(f"go on with --since {since}")


def _entry(gallery: Gallery, one: Sighting, veil: Veil) -> Entry:
    shots = gallery.shots(one.id)
    if veil.over(one.name, hidden=one.hidden):
        shots = [structs.replace(shot, jpeg=veiled(shot.jpeg)) for shot in shots]
    return Entry(one, shots)


def _write(entries: Sequence[Entry], path: Path) -> None:
    if path.suffix.lower() == ".html":
        write(path, page(entries), private)
        left_out = 0
    else:
        tiles = [
            Tile(jpeg=shot.jpeg, lines=(who(entry.sighting), f"sighting {entry.sighting.id}"))
            for entry in entries
            for shot in entry.shots
        ]
        left_out = save_sheet(tiles, path)
    say(f"wrote {path}{f', without {left_out} more' if left_out else ''}")


def _number(gallery: Gallery, person: str) -> int:
    if person.isdecimal():
        return int(person)
    for identity in gallery.identities():
        if identity.name == person:
            return identity.id
    raise click.ClickException(f"nobody in the gallery is called {person!r}; `vultus people list` shows who is there")


def _print(one: Sighting, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "number": one.id,
                "run": one.run,
                "source": one.source,
                "track": one.track,
                "time": utc(one.time),
                "position": one.position,
                "identity": one.identity,
                "name": one.name,
                "similarity": None if one.similarity is None else round(one.similarity, 4),
                "quality": None if one.quality is None else round(one.quality, 4),
                "box": None if one.box is None else [round(value, 1) for value in one.box],
            }
        )
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time))
    at = "" if one.position is None else f" at {clock(one.position)}"
    near = "" if one.similarity is None else f"{one.similarity:5.2f}"
    line(f"{one.id:>8}  {when}  {near:>5}  {who(one):<24} {one.source}{at}", None if one.name else "dim")
