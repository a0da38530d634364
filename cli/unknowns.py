"""`vultus unknowns`."""

from __future__ import annotations

from pathlib import Path

import click

from vultus.cli.console import counted, print_json, progress, say, table, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.persons import called, face_json, quality_of, valid_name
from vultus.cli.picture import Tile, picture_file, save_sheet
from vultus.configs.address import Place
from vultus.configs.loader import data_folder
from vultus.index import Gallery, Unknown
from vultus.index.configured import open_gallery
from vultus.index.veil import Veil
from vultus.stages.chip import veiled
from vultus.stages.gallery import threshold
from vultus.weights import Registry

_sheet_option = click.option(
    "--out",
    "out_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=picture_file,
    metavar="FILE",
    help="Write a sheet of their faces (.jpg, .png), so that you see whom you name.",
)
_number = click.argument("number", type=click.IntRange(min=1))


@click.group()
def unknowns() -> None:
    """People whom nobody has named yet, made of faces that are alike, in archives and before cameras.

    \b
      vultus unknowns list --out strangers.jpg     who was seen, those with most faces first
      vultus unknowns show 17 --out 17.jpg         where 17 was seen
      vultus unknowns name 17 "Ada Lovelace"       say who it is; every later sighting has the name
      vultus unknowns merge 17 23                  both are the same person
      vultus unknowns ignore 9                     never show this one again
    """


@unknowns.command("list")
@click.option("--least", type=click.IntRange(min=1), default=1, show_default=True, help="With at least so many faces.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many people.")
@click.option("--hidden", is_flag=True, help="Those who are ignored, in place of the others.")
@_sheet_option
@gallery_option
@config_option
@json_option
def list_unknowns(
    least: int,
    limit: int,
    hidden: bool,
    out_file: Path | None,
    gallery_dir: Place | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Unknown people, those with most faces first."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        people = gallery.unknowns.people(least=least, limit=limit, hidden=hidden)
        if out_file is not None:
            veil = Veil(config.privacy)
            tiles = [
                Tile(jpeg=_chip(gallery, one.best_face, veil), lines=(str(one.id), counted(one.faces, "face")))
                for one in people
            ]
            _save(tiles, out_file)
    if as_json:
        print_json([_json(one) for one in people])
        return
    table(
        "",
        (">id", ">faces", ">sightings", "first", "last", "seen in"),
        (
            (one.id, one.faces, one.sightings, utc(one.first), utc(one.last), ", ".join(one.sources[:2]))
            for one in people
        ),
    )


@unknowns.command()
@_number
@_sheet_option
@gallery_option
@config_option
@json_option
def show(
    number: int, out_file: Path | None, gallery_dir: Place | None, config_file: Path | None, as_json: bool
) -> None:
    """The faces of the unknown person NUMBER, and where each was seen."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one, faces = gallery.unknowns.get(number), gallery.faces(number)
        if out_file is not None:
            veil = Veil(config.privacy)
            _save(
                [
                    Tile(jpeg=_chip(gallery, face.id, veil), lines=(str(face.id), Path(face.source).name))
                    for face in faces
                ],
                out_file,
            )
    if as_json:
        print_json({**_json(one), "seen": [face_json(face) for face in faces]})
        return
    table(
        f"unknown {number}: {counted(one.faces, 'face')}, {counted(one.sightings, 'sighting')}, "
        f"{utc(one.first)} to {utc(one.last)}{', ignored' if one.hidden else ''}",
        (">face", ">quality", "when", "seen in"),
        (
            (
                face.id,
                quality_of(face),
                "" if face.time is None else utc(face.time),
                face.source,
            )
            for face in faces
        ),
    )


@unknowns.command()
@_number
@click.argument("name", callback=valid_name)
@gallery_option
@config_option
def name(number: int, name: str, gallery_dir: Place | None, config_file: Path | None) -> None:
    """The unknown person NUMBER is NAME.

    If there is somebody of that name already, the faces become that person's. `vultus people undo` takes it back.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        before = gallery.unknowns.get(number)
        one = gallery.identity(gallery.unknowns.name(number, name))
    if one.id == number:
        say(f"unknown {number}, {counted(one.faces, 'face')}, is {one.name} now")
    else:
        say(f"{called(one)} was there already and has {counted(before.faces, 'more face')}, {one.faces} in all")


@unknowns.command()
@click.argument("into", type=click.IntRange(min=1))
@click.argument("others", nargs=-1, required=True, type=click.IntRange(min=1), metavar="OTHER...")
@gallery_option
@config_option
def merge(into: int, others: tuple[int, ...], gallery_dir: Place | None, config_file: Path | None) -> None:
    """Each OTHER is the same unknown person as INTO. `vultus people undo` takes it back, one at a time."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        for other in others:
            gallery.unknowns.merge(into, other)
        faces = gallery.identity(into).faces
    say(f"unknown {into} has {counted(faces, 'face')} now")


@unknowns.command()
@click.argument("numbers", nargs=-1, required=True, type=click.IntRange(min=1), metavar="NUMBER...")
@gallery_option
@config_option
def ignore(numbers: tuple[int, ...], gallery_dir: Place | None, config_file: Path | None) -> None:
    """Do not show these unknown people any more. No list has them, no search and no sighting.

    They go on taking the faces that are theirs, silently. `vultus people undo`, or `vultus people unhide NUMBER`, ends it.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        for number in numbers:
            gallery.unknowns.ignore(number)
    say(f"ignored: {', '.join(map(str, numbers))}")


@unknowns.command()
@click.option("--again", is_flag=True, help="Look at all of nobody's faces once more, also those left over before.")
@gallery_option
@config_option
@json_option
def gather(again: bool, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Make unknown people of faces that are nobody's. Those that were looked at before are left.

    `vultus index` does this by itself at its end; this is for a gallery that was filled without it, or whose threshold
    (match.threshold) has changed.
    """
    config, _ = configured(config_file, gallery_dir)
    model = Registry(data_folder()).resolve(config.models.embedder, "embedder")
    with open_gallery(config, model.fingerprint) as gallery, progress(visible=not as_json) as bar:
        task = bar.add_task("unknown people", total=None if again else gallery.unknowns.pending())
        done = gallery.unknowns.gather(
            threshold(config, model), again=again, progress=lambda faces: bar.update(task, completed=faces)
        )
    if as_json:
        print_json(done)
        return
    say(
        f"{counted(done.faces, 'face')}: {done.founded} of new unknown people, {done.joined} of those there were, "
        f"{done.left} left to nobody; {done.merged} people turned out to be others"
    )


def _chip(gallery: Gallery, face: int | None, veil: Veil) -> bytes | None:
    chip = None if face is None else gallery.face(face).chip
    return veiled(chip) if chip is not None and veil.over(None) else chip


def _save(tiles: list[Tile], path: Path) -> None:
    left_out = save_sheet(tiles, path)
    say(f"wrote {path}{f', without {left_out} more' if left_out else ''}")


def _json(one: Unknown) -> dict[str, object]:
    return {
        "identity": one.id,
        "faces": one.faces,
        "sightings": one.sightings,
        "first": utc(one.first),
        "last": utc(one.last),
        "best_face": one.best_face,
        "sources": one.sources,
        "hidden": one.hidden,
    }
