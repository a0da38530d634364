"""The commands of `vultus people` that say whose a face is, and that take it back."""

from __future__ import annotations

from pathlib import Path

import click

from vultus.cli.console import counted, print_json, say, table, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.persons import called, person_meant, valid_name
from vultus.configs.address import Place
from vultus.index import Act
from vultus.index.configured import open_gallery


@click.command()
@click.argument("into")
@click.argument("others", nargs=-1, required=True, metavar="OTHER...")
@gallery_option
@config_option
def merge(into: str, others: tuple[str, ...], gallery_dir: Place | None, config_file: Path | None) -> None:
    """Each OTHER is the same person as INTO. Faces and sightings become INTO's.

    Names or numbers, also of unknown people. `vultus people undo` takes it back, one OTHER at a time.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        target = person_meant(gallery, into)
        for other in others:
            former = person_meant(gallery, other)
            gallery.merge(target.id, former.id)
            say(f"{called(former)}, {counted(former.faces, 'face')}, is part of {called(target)} now")


@click.command()
@click.argument("name")
@click.argument("faces", nargs=-1, required=True, type=click.IntRange(min=1), metavar="FACE...")
@click.option("--name", "new_name", callback=valid_name, help="Who these faces are.  [default: an unknown person]")
@gallery_option
@config_option
def split(
    name: str, faces: tuple[int, ...], new_name: str | None, gallery_dir: Place | None, config_file: Path | None
) -> None:
    """The given faces of NAME are of somebody else. They become a person of their own.

    `vultus people show NAME` lists the numbers of faces. The two are not taken for one person again.

    \b
      vultus people split Ada 17 18 --name Eve
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        new = gallery.identity(gallery.split(one.id, faces, new_name))
    say(f"{counted(new.faces, 'face')} of {called(one)} became {called(new)}")


@click.command()
@click.argument("faces", nargs=-1, required=True, type=click.IntRange(min=1), metavar="FACE...")
@click.option("--to", "name", help="A name or number of `people list`.")
@click.option("--to-nobody", is_flag=True, help="Let them be nobody's.")
@gallery_option
@config_option
def move(
    faces: tuple[int, ...], name: str | None, to_nobody: bool, gallery_dir: Place | None, config_file: Path | None
) -> None:
    """Give single faces to another person who is there.

    \b
      vultus people move 17 18 --to Eve
    """
    if (name is None) != to_nobody:
        raise click.UsageError("say whose they are: --to NAME, or --to-nobody")
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = None if name is None else person_meant(gallery, name)
        gallery.move_faces(faces, None if one is None else one.id)
    say(f"{counted(len(set(faces)), 'face')} given to {'nobody' if one is None else called(one)}")


@click.command()
@click.argument("name")
@gallery_option
@config_option
def hide(name: str, gallery_dir: Place | None, config_file: Path | None) -> None:
    """Leave NAME out of lists, searches and what cameras say. `unhide` ends it."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        gallery.hide(one.id)
    say(f"{called(one)} is hidden; `vultus people list --hidden` lists such people, `vultus people unhide` ends it")


@click.command()
@click.argument("name")
@gallery_option
@config_option
def unhide(name: str, gallery_dir: Place | None, config_file: Path | None) -> None:
    """Show NAME again in lists and searches."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        gallery.hide(one.id, False)
    say(f"{called(one)} is shown again")


@click.command()
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many of the last acts.")
@click.option("--act", "number", type=click.IntRange(min=1), help="This one, by its number in `people acts`.")
@gallery_option
@config_option
@json_option
def undo(count: int, number: int | None, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Take back what was done last to people and their faces.

    That is a merge, split, move, name, rename, hide or unhide. Somebody who was merged comes back with name, faces and
    sightings, under a new number. Faces that were deleted since stay deleted, which is said.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        undone = gallery.undo(count, act=number)
    if as_json:
        print_json([_json(act) for act in undone])
        return
    for act in undone:
        lost = f"; {counted(act.lost, 'face')} could not be brought back: deleted, or somebody else's by now"
        say(f"undone: {act.kind}: {act.summary}{lost if act.lost else ''}")


@click.command("acts")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The last so many.")
@gallery_option
@config_option
@json_option
def list_acts(limit: int, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """What was done to people and faces, the newest first. Says what of it was undone."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        acts = gallery.acts(limit)
    if as_json:
        print_json([_json(act) for act in acts])
        return
    table(
        "",
        (">act", "when", "what", "", ""),
        ((act.id, utc(act.at), act.kind, act.summary, "undone" if act.undone else "") for act in acts),
    )


def _json(act: Act) -> dict[str, object]:
    return {
        "act": act.id,
        "kind": act.kind,
        "at": utc(act.at),
        "summary": act.summary,
        "undone": None if act.undone is None else utc(act.undone),
        "lost": act.lost,
    }
