"""`vultus keys`."""

from __future__ import annotations

from pathlib import Path

import click

from vultus.cli.console import line, print_json, say
from vultus.cli.options import config_option, json_option
from vultus.configs.loader import load, network_key_file
from vultus.pipeline.keys import Keys, create, read


def _file_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--file",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where the keys lie.  [default: network.key_file, else `network.key` in the user's data folder]",
    )(command)


@click.group()
def keys() -> None:
    """This machine's keys, by which machines that share the work of a job know each other.

    \b
    On each machine:  vultus keys new
    Then the public keys go into the configuration, which is the same on all machines:
      network:
        main_key: ...                    the machine that runs watch or index
        hosts: [{name: attic, key: ...}] those that run vultus worker
    """


@keys.command()
@_file_option
@config_option
@json_option
def new(file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Make a pair of keys and print the public one. Only its owner can read their file; an old pair is not replaced."""
    path = _place(file, config_file)
    try:
        made = create(path)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; `vultus keys show` prints its public key") from None
    _show(made, path, as_json=as_json)


@keys.command()
@_file_option
@config_option
@json_option
def show(file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Print the public key. The secret one is never printed."""
    path = _place(file, config_file)
    _show(read(path), path, as_json=as_json)


def _place(file: Path | None, config_file: Path | None) -> Path:
    return file.absolute() if file is not None else network_key_file(load(config_file))


def _show(found: Keys, path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"public": found.public, "file": str(path)})
        return
    line(found.public)
    say(f"the public key of {path}; it belongs in quotes: key: '{found.public}'")
