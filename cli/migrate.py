"""`vultus gallery migrate`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from vultus.cli.console import counted, line, print_json, progress, say
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.configs.address import Place
from vultus.configs.loader import data_folder
from vultus.index.configured import open_gallery


@click.command()
@click.option("--model", "name", metavar="NAME", help="The embedder to move to; `vultus models list` has their names.")
@click.option("--abandon", is_flag=True, help="Forget what was made for the other model; the gallery stays as it is.")
@click.option("--yes", is_flag=True, help="Do not ask, whatever cannot be taken along.")
@gallery_option
@config_option
@json_option
def migrate(
    name: str | None, abandon: bool, yes: bool, gallery_dir: Place | None, config_file: Path | None, as_json: bool
) -> None:
    """Move the gallery to another embedding model.

    New vectors are made of the pictures that were kept of the faces (store.keep_chips). People, names, numbers, groups of
    unknown people, denials and sightings stay as they are. The gallery answers with its old model until all is done, and
    takes new faces; then the vectors change at once. Stopped or killed, the same command goes on where it was.

    A face without a kept picture is read from its photograph again. Where that is gone or has changed, the face keeps
    its record but is found by no search any more: the number is told, and asked about, before anything begins.
    """
    if (name is None) == (not abandon):
        raise click.UsageError("say --model NAME, or --abandon")
    from vultus.stages.reembed import plan, reembed  # not for `--help`
    from vultus.weights import Registry, open_embedder

    config, _ = configured(config_file, gallery_dir)
    if name is None:
        with open_gallery(config) as gallery:
            gallery.migration.abandon()
            say(f"{gallery.path}: stays with the model {gallery.model}")
        return
    registry = Registry(data_folder())
    registry.need(name)
    model = registry.resolve(name, "embedder")
    begun = time.monotonic()
    with open_gallery(config) as gallery:
        before, found = gallery.model, plan(gallery)
        if not as_json:
            say(f"{counted(found.faces, 'face')}, {found.pictures} of them with a kept picture")
        if found.without and not yes and sys.stdin.isatty():
            click.confirm(
                f"{counted(found.without, 'face')} without one: those whose photograph is gone will not be found any more. "
                "Go on?",
                abort=True,
                err=True,
            )
        embedder = open_embedder(
            model.path, threads=config.embed.threads, isa=config.embed.isa, backend=config.models.backend
        )
        with progress(visible=not as_json) as bar:
            task = bar.add_task("faces", total=found.faces)
            outcome = reembed(
                gallery,
                embedder,
                model.fingerprint,
                config.decode,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
        reasons = gallery.migration.reasons()
    if as_json:
        print_json(
            {
                "from": before,
                "to": model.fingerprint,
                "faces": outcome.done,
                "lacking": outcome.lacking,
                "reasons": reasons,
                "threshold": model.threshold,
                "seconds": time.monotonic() - begun,
            }
        )
        return
    line(f"{counted(outcome.done, 'face')} moved from {before} to {model.fingerprint}")
    for reason, count in reasons.items():
        line(f"{counted(count, 'face')} not: {reason}")
    say(f"set models.embedder to {name} in the configuration; a match.threshold in it was the old model's")
