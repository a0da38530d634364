"""`vultus people`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from vultus.cli.acts import hide, list_acts, merge, move, split, undo, unhide
from vultus.cli.console import counted, print_json, say, shown, table, utc
from vultus.cli.denials import confusable, deny, list_denials
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.persons import called, face_json, person_meant, quality_of, valid_name
from vultus.configs.address import Place
from vultus.index import Gallery, StoredFace, UnknownIdentity
from vultus.index.configured import open_gallery
from vultus.pipeline.messages import Box
from vultus.stages import enrolment
from vultus.stages.finder import FaceFinder, FoundFace


@click.group()
def people() -> None:
    """The people whom the gallery knows: list, show, enrol, rename, merge, split, move, hide, undo, export, delete.

    
    Two entries are one person:          vultus people merge Ada "Ada L."
    Some faces are somebody else's:      vultus people show Ada        (the faces have numbers)
                                         vultus people split Ada 17 18 --name Eve
    That was wrong:                      vultus people undo
    """


for _command in (merge, split, move, hide, unhide, undo, list_acts, deny, list_denials, confusable):
    people.add_command(_command)


@people.command("list")
@gallery_option
@config_option
@click.option("--hidden", is_flag=True, help="Those who are hidden, in place of the others.")
@json_option
def list_people(gallery_dir: Place | None, config_file: Path | None, hidden: bool, as_json: bool) -> None:
    """Everybody who has a name, with the number of their faces."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        everybody = gallery.identities(hidden=hidden)
    if as_json:
        print_json(
            [
                {"identity": one.id, "name": one.name, "faces": one.faces, "created": utc(one.created)}
                for one in everybody
            ]
        )
        return
    table(
        "", (">id", "name", ">faces", "since"), ((one.id, one.name, one.faces, utc(one.created)) for one in everybody)
    )


@people.command()
@click.argument("name")
@gallery_option
@config_option
@json_option
def show(name: str, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """The faces of NAME and where each was seen.

    NAME may be a number of `people list`; should somebody be named by that number, it means that person.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        faces = gallery.faces(one.id)
    if as_json:
        print_json({"identity": one.id, "name": one.name, "faces": [face_json(face) for face in faces]})
        return
    table(
        f"{called(one)}, {counted(one.faces, 'face')}",
        (">face", ">quality", ">x,y w×h", "seen in"),
        ((face.id, quality_of(face), _place(face), face.source) for face in faces),
    )


@people.command()
@click.argument("name", callback=valid_name)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--collection", callback=valid_name, metavar="NAME", help="Put the faces into this collection.")
@gallery_option
@config_option
@json_option
@click.pass_context
def enrol(
    ctx: click.Context,
    name: str,
    images: tuple[Path, ...],
    collection: str | None,
    gallery_dir: Place | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Add the face of each IMAGE to the person NAME.

    A person whom the gallery does not know is made. A photo that was enrolled before is not counted twice.

    A photo should show that person alone; of several faces the largest is taken if it is clearly the largest, otherwise
    the photo is refused by name. So is one whose face is hardly recognisable (`store.enrol_quality`; `vultus quality`).
    """
    config, _ = configured(config_file, gallery_dir)
    chosen: list[tuple[Path, FoundFace]] = []
    new: list[tuple[Path, FoundFace]] = []
    refused: list[tuple[Path, str]] = []
    with FaceFinder(config) as finder:
        for path in dict.fromkeys(Path(os.path.abspath(image)) for image in images):
            try:
                path.name.encode()
                pixels = finder.read(path)
                face = enrolment.meant(finder.find(pixels))
                enrolment.check(pixels, face, config.store.enrol_quality)
                chosen.append((path, face))
            except UnicodeEncodeError:
                refused.append((path, "its name is not UTF-8; rename it"))
            except (ValueError, OSError) as error:
                refused.append((path, str(error)))
        fingerprint = finder.model.fingerprint
    for path, reason in refused:
        say(f"refused: {path}: {reason}", style="yellow")
    identity = None
    if chosen:
        with open_gallery(config, fingerprint, create=True) as gallery:
            known = _already(gallery, name)
            new = [(path, face) for path, face in chosen if (str(path), face.box) not in known]
            keep = config.store.keep_chips
            records = [enrolment.record(str(path), face, chip=keep, collection=collection) for path, face in new]
            vectors = [face.vector for _, face in new]
            identity = gallery.enrol(name, vectors, records) if new else gallery.identity(name).id
    if as_json:
        print_json(
            {
                "identity": identity,
                "name": name,
                "enrolled": [str(path) for path, _ in chosen],
                "refused": [{"image": shown(str(path)), "reason": reason} for path, reason in refused],
            }
        )
    elif chosen:
        before = len(chosen) - len(new)
        say(f"{name}: {counted(len(new), 'face')} enrolled{f', {before} known before' if before else ''}")
    if refused:
        ctx.exit(1 if chosen else 2)


@people.command()
@click.argument("name")
@click.argument("new_name", callback=valid_name)
@gallery_option
@config_option
def rename(name: str, new_name: str, gallery_dir: Place | None, config_file: Path | None) -> None:
    """Call NAME by NEW_NAME from now on. NAME may be a number of `people list`."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        gallery.rename(one.id, new_name)
    say(f"{one.name} is now {new_name}")


@people.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
@config_option
def delete(name: str, yes: bool, gallery_dir: Place | None, config_file: Path | None) -> None:
    """Forget NAME and every face of theirs.

    NAME may be a number of `people list`. No search that starts afterwards finds them. At a terminal it asks first.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        if not yes and sys.stdin.isatty():
            click.confirm(f"Delete {shown(name)} and {counted(one.faces, 'face')} for good?", abort=True, err=True)
        gallery.remove_identity(one.id)
    say(f"{one.name}: deleted, with {counted(one.faces, 'face')}")


@people.command()
@click.argument("name")
@click.option(
    "--out",
    "out_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.zip",
    help="The file to write; it may not be there yet.",
)
@gallery_option
@config_option
@json_option
def export(name: str, out_file: Path, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Write all that is held about NAME into a zip file. It is meant for that person.

    Faces with their pictures, places and times, vectors, sightings, files, what was said and done about the person; a
    README inside says what is what. NAME may be a number of `people list`.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        done = gallery.export(person_meant(gallery, name).id, out_file)
    if as_json:
        print_json(
            {
                "identity": done.identity,
                "name": done.name,
                "file": str(out_file),
                "faces": done.faces,
                "sightings": done.sightings,
            }
        )
    else:
        held = f"{counted(done.faces, 'face')}, {counted(done.sightings, 'sighting')}"
        say(f"{done.name or f'person {done.identity}'}: {held} written to {out_file}")


def _already(gallery: Gallery, name: str) -> set[tuple[str, Box | None]]:
    """Photo and place of every face that the person has so far; none if there is no such person."""
    try:
        return {(face.source, face.box) for face in gallery.faces(name)}
    except UnknownIdentity:
        return set()


def _place(face: StoredFace) -> str:
    return "" if face.box is None else "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box)
