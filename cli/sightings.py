"""`vultus sightings`."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import click

from vultus.cli.console import clock, line, print_json, say, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.address import Place
from vultus.index import Gallery, Sighting
from vultus.index.configured import open_gallery

_PAGE = 1000
_DAY = 86_400.0


@click.command()
@gallery_option
@config_option
@click.option("--since", type=click.IntRange(min=0), default=0, show_default=True, help="Only later numbers than this.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--source", help="Only of the camera or file of that name.")
@click.option("--person", help="Only of this person, by name or number.")
@click.option("--follow", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.05, 3600), default=0.5, show_default=True, help="Seconds between looks."
)
@click.option(
    "--delete-older",
    "days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Delete sightings that are older instead.",
)
@json_option
def sightings(
    gallery_dir: Place | None,
    config_file: Path | None,
    since: int,
    limit: int | None,
    source: str | None,
    person: str | None,
    follow: bool,
    every: float,
    days: float | None,
    as_json: bool,
) -> None:
    """Who was seen, in the order in which it was decided.

    Every sighting has a number, and nothing that is decided later gets a lower one. A program that was away goes on with
    `--since LAST_NUMBER` and misses nothing. A sighting that is corrected (a stranger who was recognised after all) comes
    again under a new number, in place of the former; run, source and track tell which one it is.

    With --json each is one line: number, run, source, track, time (UTC), position (seconds into a file, else null),
    identity, name, similarity, quality, box [x, y, w, h]. `match.keep_days` of the configuration deletes old ones by itself.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        if days is not None:
            deleted = gallery.forget_sightings(time.time() - days * _DAY)
            print_json({"deleted": deleted}) if as_json else line(f"{deleted} sightings deleted")
            return
        identity = None if person is None else _number(gallery, person)
        left = limit
        while True:
            found = gallery.sightings(
                since, _PAGE if left is None else min(left, _PAGE), source=source, identity=identity
            )
            for one in found:
                _print(one, as_json=as_json)
                since = one.id
            left = None if left is None else left - len(found)
            if left == 0 or (len(found) < _PAGE and not follow):
                break
            if not found:
                Event().wait(every)
    if not as_json:
        say(f"go on with --since {since}")


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
    who = one.name or ("unknown" if one.identity is None else f"unknown {one.identity}")
    near = "" if one.similarity is None else f"{one.similarity:5.2f}"
    line(f"{one.id:>8}  {when}  {near:>5}  {who:<24} {one.source}{at}", None if one.name else "dim")
