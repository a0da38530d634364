"""The commands of `vultus people` about who is not whom."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from vultus.cli.console import print_json, progress, say, table, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.persons import called, person_meant
from vultus.configs.address import Place
from vultus.configs.loader import data_folder
from vultus.index.configured import open_gallery
from vultus.stages.gallery import threshold
from vultus.weights import Registry


@click.command()
@click.argument("name")
@click.option("--face", type=click.IntRange(min=1), metavar="N", help="NAME is not on this face (`people show`).")
@click.option("--person", metavar="OTHER", help="NAME and OTHER are not the same.")
@click.option("--take-back", is_flag=True, help="It was said, and is not so.")
@gallery_option
@config_option
def deny(
    name: str,
    face: int | None,
    person: str | None,
    take_back: bool,
    gallery_dir: Place | None,
    config_file: Path | None,
) -> None:
    """Say that NAME is not on a face, or not another person.

    Searches answer with NAME only if NAME's own faces are nearer than the face, or than every face of OTHER; no clustering
    puts them together.
    """
    if (face is None) == (person is None):
        raise click.UsageError("say either --face or --person")
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        one = person_meant(gallery, name)
        other = None if person is None else person_meant(gallery, person)
        change = gallery.allow if take_back else gallery.deny
        change(one.id, face=face, other=None if other is None else other.id)
    what = f"on face {face}" if other is None else called(other)
    say(f"{called(one)} may be {what} again" if take_back else f"{called(one)} is not {what}")


@click.command("denials")
@click.argument("name", required=False)
@gallery_option
@config_option
@json_option
def list_denials(name: str | None, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Who was said not to be whom, of NAME or of everybody."""
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery:
        listed = gallery.denials(None if name is None else person_meant(gallery, name).id)
    if as_json:
        print_json(msgspec.to_builtins(listed))
        return
    table(
        "",
        (">id", "name", "is not", "said at"),
        (
            (
                one.identity,
                one.name,
                f"on face {one.face} in {one.source}" if one.other is None else f"{one.other_name} (id {one.other})",
                utc(one.at),
            )
            for one in listed
        ),
    )


@click.command()
@click.option("--threshold", "least", type=click.FloatRange(-1, 1), help="Least similarity.  [default: the one in use]")
@gallery_option
@config_option
@json_option
def confusable(least: float | None, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Pairs of people who may be taken for each other. It is one person twice, or a face has the wrong name.

    Merge them (`people merge`), move the face (`people move`), or say that they are two (`people deny`).
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as gallery, progress(visible=not as_json) as bar:
        if least is None:
            model = Registry(data_folder()).resolve(config.models.embedder, "embedder")
            least = threshold(config, model, gallery)
        task = bar.add_task("faces", total=None)
        pairs = gallery.calibration.confusable(least, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        print_json([{**msgspec.to_builtins(one), "reading": one.reading} for one in pairs])
        return
    table(
        f"{len(pairs)} pairs at {least:.3f} or above",
        (">similarity", "who", ">face", "and", ">face", ""),
        ((f"{one.similarity:.3f}", one.name, one.face, one.other_name, one.other_face, one.reading) for one in pairs),
    )
