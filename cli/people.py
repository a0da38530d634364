"""`vultus people`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vultus.cli.console import print_json, say, table, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.schema import Config
from vultus.index import FaceRecord, Gallery, StoredFace
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.stages.store import chip_jpeg

# Of several faces in an enrolment photo the largest is meant only if nobody could doubt it.
_CLEARLY_LARGER = 2.0


@click.group()
def people() -> None:
    """The people whom the gallery knows: list, show, enrol, rename, delete."""


@people.command("list")
@gallery_option
@config_option
@json_option
def list_people(gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Everybody, with the number of their faces."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as gallery:
        everybody = gallery.identities()
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
def show(name: str, gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """The faces of NAME (or of a number from `people list`) and where each was seen."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as gallery:
        one = gallery.identity(name)
        faces = gallery.faces(one.id)
    if as_json:
        print_json({"identity": one.id, "name": one.name, "faces": [_face_json(face) for face in faces]})
        return
    table(
        f"{one.name} (id {one.id}, {one.faces} faces)",
        (">face", ">quality", ">x,y w×h", "seen in"),
        ((face.id, _number(face.quality), _place(face), face.source) for face in faces),
    )


@people.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="IMAGE...")
@gallery_option
@config_option
@json_option
@click.pass_context
def enrol(
    ctx: click.Context,
    name: str,
    images: tuple[Path, ...],
    gallery_dir: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Add the face of each IMAGE to the person NAME, who is made if the gallery does not know them.

    A photo should show that person alone; of several faces the largest is taken if it is clearly the largest, otherwise
    the photo is refused by name.
    """
    config, folder = configured(config_file, gallery_dir)
    chosen: list[tuple[Path, FoundFace]] = []
    refused: list[tuple[Path, str]] = []
    with FaceFinder(config) as finder:
        for path in images:
            try:
                chosen.append((path, _only_face(finder.find(path))))
            except (ValueError, OSError) as error:
                refused.append((path, str(error)))
        fingerprint = finder.model.fingerprint
    for path, reason in refused:
        say(f"refused: {path}: {reason}", style="yellow")
    identity = None
    if chosen:
        with Gallery.open(folder, model=fingerprint) as gallery:
            records = [_stored(path, face, config) for path, face in chosen]
            identity = gallery.enrol(name, [face.vector for _, face in chosen], records)
    if as_json:
        print_json(
            {
                "identity": identity,
                "name": name,
                "enrolled": [str(path) for path, _ in chosen],
                "refused": [{"image": str(path), "reason": reason} for path, reason in refused],
            }
        )
    elif chosen:
        say(f"{name}: {len(chosen)} face{'s' * (len(chosen) != 1)} enrolled")
    if refused:
        ctx.exit(1 if chosen else 2)


@people.command()
@click.argument("name")
@click.argument("new_name")
@gallery_option
@config_option
def rename(name: str, new_name: str, gallery_dir: Path | None, config_file: Path | None) -> None:
    """Call NAME by NEW_NAME from now on, in every answer."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as gallery:
        gallery.rename(gallery.identity(name).id, new_name)
    say(f"{name} is now {new_name}")


@people.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
@config_option
def delete(name: str, yes: bool, gallery_dir: Path | None, config_file: Path | None) -> None:
    """Forget NAME and every face of theirs; no search that starts afterwards finds them."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as gallery:
        one = gallery.identity(name)
        if not yes and sys.stdin.isatty():
            click.confirm(f"Delete {one.name} and {one.faces} faces for good?", abort=True, err=True)
        gallery.remove_identity(one.id)
    say(f"{one.name}: deleted, with {one.faces} face{'s' * (one.faces != 1)}")


def _only_face(faces: list[FoundFace]) -> FoundFace:
    if not faces:
        raise ValueError("no face found; use a photo in which the face is larger or turned to the camera")
    by_size = sorted(faces, key=lambda face: face.box[2] * face.box[3], reverse=True)
    if len(by_size) > 1:
        first, second = (face.box[2] * face.box[3] for face in by_size[:2])
        if first < _CLEARLY_LARGER * second:
            raise ValueError(f"{len(faces)} faces of similar size; crop the photo to the one person")
    return by_size[0]


def _stored(path: Path, face: FoundFace, config: Config) -> FaceRecord:
    return FaceRecord(
        source=str(path.absolute()),
        box=face.box,
        landmarks=face.landmarks,
        score=face.score,
        quality=face.quality,
        chip=chip_jpeg(face.chip) if config.store.keep_chips else None,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _place(face: StoredFace) -> str:
    return "" if face.box is None else "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box)


def _face_json(face: StoredFace) -> dict[str, object]:
    return {
        "face_id": face.id,
        "source": face.source,
        "position": face.position,
        "time": None if face.time is None else utc(face.time),
        "box": face.box,
        "quality": face.quality,
    }
