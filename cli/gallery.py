"""`vultus gallery`."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from vultus.cli.console import counted, line, print_json, table, utc
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.index import Gallery, kinds


@click.group()
def gallery() -> None:
    """The gallery: what it holds, whether it is sound, how it is searched, and copies of it."""


@gallery.command()
@gallery_option
@config_option
@json_option
def stats(gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """How many people and faces, and how much space."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as opened:
        rows = msgspec.structs.asdict(opened.stats())
    if rows["last_snapshot"] is not None:
        rows["last_snapshot"] = utc(rows["last_snapshot"])
    if as_json:
        print_json(rows)
        return
    table(
        f"Gallery {folder}",
        ("", ">"),
        ((name.replace("_", " "), "none" if value is None else value) for name, value in rows.items()),
    )


@gallery.command()
@gallery_option
@config_option
@json_option
@click.pass_context
def verify(ctx: click.Context, gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Check every table, vector and checksum.

    Exit code 1 if something is wrong, with what and the remedy.
    """
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as opened:
        report = opened.verify()
    if as_json:
        print_json({"ok": report.ok, "faces": report.faces, "problems": report.problems, "seconds": report.seconds})
    else:
        for problem in report.problems:
            line(f"WRONG  {problem}")
        verdict = "sound" if report.ok else counted(len(report.problems), "problem")
        line(f"{folder}: {verdict}, {counted(report.faces, 'face')} checked in {report.seconds:.1f} s")
    ctx.exit(0 if report.ok else 1)


@gallery.command()
@gallery_option
@config_option
@click.option(
    "--index",
    "kind",
    type=click.Choice([kinds.AUTO, *kinds.KINDS]),
    default=kinds.AUTO,
    show_default=True,
    help="Kind of index; docs/gallery.md says what each costs.",
)
@click.option("--memory", metavar="BYTES", type=click.IntRange(min=1), help="The most that `auto` may use.")
@json_option
def convert(gallery_dir: Path | None, config_file: Path | None, kind: str, memory: int | None, as_json: bool) -> None:
    """Give the gallery another kind of index.

    Needs no embedder: the vectors stay as they are. Takes about a minute for a million faces.
    """
    _, folder = configured(config_file, gallery_dir)
    begun = time.perf_counter()
    with Gallery.open(folder, create=False) as opened:
        opened.convert(kind, memory)
        stats = opened.stats()
    seconds = time.perf_counter() - begun
    if as_json:
        print_json({"index": stats.index, "bytes_per_vector": stats.bytes_per_vector, "seconds": seconds})
    else:
        line(f"{folder}: index {stats.index}, {stats.bytes_per_vector} bytes a face, made in {seconds:.1f} s")


@gallery.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@gallery_option
@config_option
@json_option
def backup(file: Path, gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Copy the gallery into FILE, a new one, while it is in use."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as opened:
        size = opened.backup(file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        line(f"{folder}: copied into {file}, {size / 1e6:.1f} MB")


@gallery.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@gallery_option
@config_option
@json_option
def restore(file: Path, gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Make a gallery of the backup FILE, in a folder that is new or empty."""
    _, folder = configured(config_file, gallery_dir)
    Gallery.restore(file, folder)
    with Gallery.open(folder, create=False) as opened:
        stats = opened.stats()
    if as_json:
        print_json({"gallery": str(folder), "identities": stats.identities, "faces": stats.faces})
    else:
        people = "1 person" if stats.identities == 1 else f"{stats.identities} people"
        line(f"{folder}: restored, {people}, {counted(stats.faces, 'face')}")


@gallery.command()
@gallery_option
@config_option
@json_option
def compact(gallery_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Give the space of what was deleted back to the disk."""
    _, folder = configured(config_file, gallery_dir)
    with Gallery.open(folder, create=False) as opened:
        given_back = opened.compact()
    if as_json:
        print_json({"bytes": given_back})
    else:
        line(f"{folder}: {given_back / 1e6:.1f} MB given back")
