"""`vultus gallery`."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
import msgspec

from vultus.cli.console import counted, line, print_json, say, table, utc
from vultus.cli.migrate import migrate
from vultus.cli.options import Decorated, config_option, configured, gallery_option, json_option
from vultus.cli.pruning import prune
from vultus.configs.address import Place
from vultus.configs.loader import read_key
from vultus.index import AuditEntry, AuditWhere, Gallery, kinds
from vultus.index.configured import open_gallery
from vultus.index.store import private

_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_SHOWN = 8


def _since(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float:
    """Seconds since the epoch of `7d` (before now) or of a time in ISO 8601, local unless it says otherwise."""
    if value is None:
        return 0.0
    try:
        if value[-1:] in _SECONDS:
            return time.time() - float(value[:-1]) * _SECONDS[value[-1]]
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(f"{value!r} is neither like 7d, 12h or 30m nor a day or time") from error


def _numbers(people: Sequence[int]) -> str:
    """The first few of these numbers."""
    shown = " ".join(map(str, people[:_MOST_SHOWN]))
    return f"{shown} and {len(people) - _MOST_SHOWN} more" if len(people) > _MOST_SHOWN else shown


def _who(entry: AuditEntry) -> str | None:
    """Who it was, and from where."""
    return entry.actor if entry.via is None else f"{entry.actor} from {entry.via}"


@click.group()
def gallery() -> None:
    """The gallery: what it holds, whether it is sound, how it is searched, and copies of it."""


@gallery.command()
@gallery_option
@config_option
@json_option
def stats(gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """How many people and faces, and how much space."""
    config, folder = configured(config_file, gallery_dir)
    with open_gallery(config) as opened:
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
def verify(ctx: click.Context, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Check every table, vector and checksum.

    Exit code 1 if something is wrong, with what and the remedy.
    """
    config, folder = configured(config_file, gallery_dir)
    with open_gallery(config) as opened:
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
    type=click.Choice([kinds.AUTO, *kinds.KINDS, kinds.HNSW]),
    default=kinds.AUTO,
    show_default=True,
    help="Kind of index; docs/gallery.md says what each costs.",
)
@click.option("--memory", metavar="BYTES", type=click.IntRange(min=1), help="The most that `auto` may use.")
@click.option(
    "--recall",
    metavar="SHARE",
    type=click.FloatRange(0.5, 1, max_open=True),
    help="How often the nearest person is to be found, for instance 0.99, by the kinds ivf-… "
    f"({kinds.RECALL} if it is not said), which `auto` takes above 6,291,456 faces of 512 numbers if it is.",
)
@json_option
def convert(
    gallery_dir: Place | None,
    config_file: Path | None,
    kind: str,
    memory: int | None,
    recall: float | None,
    as_json: bool,
) -> None:
    """Give the gallery another kind of index.

    Needs no embedder: the vectors stay as they are. Takes about a minute for a million faces.
    """
    config, folder = configured(config_file, gallery_dir)
    begun = time.perf_counter()
    with open_gallery(config) as opened:
        try:
            opened.convert(kind, memory, recall)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        stats = opened.stats()
    seconds = time.perf_counter() - begun
    if as_json:
        print_json(
            {
                "index": stats.index,
                "bytes_per_vector": stats.bytes_per_vector,
                "recall": stats.recall,
                "seconds": seconds,
            }
        )
    else:
        line(f"{folder}: index {stats.index}, {stats.bytes_per_vector} bytes a face, made in {seconds:.1f} s")
        if stats.recall is not None:
            line(f"  finds the nearest person for {stats.recall:.2%} of its own faces")


@gallery.command()
@gallery_option
@config_option
@click.option(
    "--since", metavar="WHEN", callback=_since, help="`7d`, `12h`, `30m`, or a day or time such as 2030-01-31."
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="The last so many.")
@click.option("--who", metavar="NAME", help="By this actor only.")
@click.option(
    "--what", metavar="KIND", multiple=True, help="Of this kind only: search, added, dropped, ...; may be repeated."
)
@json_option
def audit(
    gallery_dir: Place | None,
    config_file: Path | None,
    since: float,
    limit: int,
    who: str | None,
    what: tuple[str, ...],
    as_json: bool,
) -> None:
    """Who searched and who changed what, oldest first.

    Changes are always listed; searches, and who made a change, are recorded if the configuration has `audit.enabled:
    true`. People are told by number (`vultus people list`), since names are forgotten with their people.
    """
    config, _ = configured(config_file, gallery_dir)
    with open_gallery(config) as opened:
        entries = opened.audit.entries(since, limit, AuditWhere(actor=who, operations=what or None))
    if as_json:
        print_json([{**msgspec.structs.asdict(entry), "at": utc(entry.at)} for entry in entries])
        return
    table(
        "",
        ("when", "who", "what", "people", ">faces", ">k", ">threshold", "program"),
        (
            (utc(one.at), _who(one), one.operation, _numbers(one.people), one.faces, one.k, one.threshold, one.program)
            for one in entries
        ),
    )


@gallery.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@gallery_option
@config_option
@json_option
def backup(file: Path, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Copy the gallery into FILE, a new one, while it is in use."""
    config, folder = configured(config_file, gallery_dir)
    with open_gallery(config) as opened:
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
def restore(file: Path, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Make a gallery of the backup FILE. The folder has to be new or empty, or the database without one.

    A backup is the same file wherever the gallery was, so this also moves one from a folder into a database, and back.
    """
    config, folder = configured(config_file, gallery_dir)
    Gallery.restore(file, folder)
    with open_gallery(config) as opened:
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
def compact(gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Give the space of what was deleted back to the disk."""
    config, folder = configured(config_file, gallery_dir)
    with open_gallery(config) as opened:
        given_back = opened.compact()
    if as_json:
        print_json({"bytes": given_back})
    else:
        line(f"{folder}: {given_back / 1e6:.1f} MB given back")


def _key_option(command: Decorated) -> Decorated:
    return click.option(
        "--key-file",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The key, 64 hexadecimal digits; made, for its owner's eyes only, if it is not there.",
    )(command)


@gallery.command()
@_key_option
@gallery_option
@config_option
@json_option
def encrypt(key_file: Path, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Encrypt the vectors, the pictures and the snapshot.

    Names, places and times stay readable to who can read the disk; docs/gallery.md says what this protects from and what
    not. It happens in one step, and needs space for another copy meanwhile. Who loses the key loses the gallery.
    """
    config, folder = configured(config_file, gallery_dir)
    begun = time.perf_counter()
    with Gallery.open(folder, create=False, audit=config.audit) as opened:
        opened.set_key(_made(key_file))
        _keyed(opened, "encrypted", begun, as_json)
    if not as_json:
        say(
            f"put `store: {{key_file: {key_file.absolute()}}}` into the configuration, or the key into VULTUS_GALLERY_KEY"
        )


@gallery.command()
@gallery_option
@config_option
@json_option
def decrypt(gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Take the encryption off again, with the configured key."""
    config, _ = configured(config_file, gallery_dir)
    begun = time.perf_counter()
    with open_gallery(config) as opened:
        opened.set_key(None)
        _keyed(opened, "not encrypted", begun, as_json)


@gallery.command()
@_key_option
@gallery_option
@config_option
@json_option
def rekey(key_file: Path, gallery_dir: Place | None, config_file: Path | None, as_json: bool) -> None:
    """Let another key open the gallery, instead of the configured one.

    Takes no time, since only the gallery's own key is written anew. If somebody had the old key and a copy of the files,
    `decrypt` and `encrypt` make a new one of that, too.
    """
    config, _ = configured(config_file, gallery_dir)
    begun = time.perf_counter()
    with open_gallery(config) as opened:
        if not opened.stats().encrypted:
            raise click.ClickException(f"{opened.path} is not encrypted; `vultus gallery encrypt` encrypts it")
        opened.set_key(_made(key_file))
        _keyed(opened, "encrypted with the new key", begun, as_json)


def _made(key_file: Path) -> bytes:
    """The key in the file, which is made if it is not there."""
    try:
        with open(key_file, "x", opener=private) as file:
            file.write(secrets.token_bytes(32).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        say(f"made a key in {key_file}: keep a copy of it elsewhere")
    except FileExistsError:
        pass
    return read_key(key_file.absolute())


def _keyed(opened: Gallery, what: str, begun: float, as_json: bool) -> None:
    seconds, stats = time.perf_counter() - begun, opened.stats()
    if as_json:
        print_json({"encrypted": stats.encrypted, "faces": stats.faces, "seconds": seconds})
    else:
        line(f"{opened.path}: {what}, {counted(stats.faces, 'face')} in {seconds:.1f} s")


gallery.add_command(migrate)
gallery.add_command(prune)
