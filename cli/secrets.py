"""`vultus secrets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vultus.cli.console import say
from vultus.cli.options import config_option
from vultus.configs.loader import load, server_folder
from vultus.configs.schema import Config

if TYPE_CHECKING:
    from vultus.server.store import Store


@click.group()
def secrets() -> None:
    """What `vultus serve` keeps encrypted: camera addresses, secrets of webhooks, passwords of brokers.

    The key lies in `secrets.key` of the server's folder, or where serve.key_file says, or in the environment variable
    VULTUS_SERVER_KEY. A backup of the folder without it reads no secret.
    """


@secrets.command()
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="The new key: 64 hexadecimal digits (`openssl rand -hex 32`).  [default: a fresh one, in the old one's place]",
)
@config_option
def rotate(key_file: Path | None, config_file: Path | None) -> None:
    """Seal everything under another key. Stop the server before; a cut-off run is finished by the next start."""
    config = load(config_file)
    from vultus.server.vault import rotate as change

    store = _opened(config)
    try:
        place = change(config, store, key_file)
    finally:
        store.close()
    say(f"the secrets are sealed under the key in {place}; the old key opens nothing any more")


@secrets.command()
@config_option
@click.confirmation_option(prompt="Delete all secrets of the server?", help="Do not ask.")
def forget(config_file: Path | None) -> None:
    """Delete all secrets, because the key is lost. Cameras and webhooks stay, and want their addresses anew."""
    store = _opened(load(config_file))
    from vultus.server.vault import forget_all

    try:
        count = forget_all(store)
    finally:
        store.close()
    say(f"{count} secrets deleted; the next `vultus serve` begins with a key that is there, or a new one")


def _opened(config: Config) -> Store:
    try:
        from vultus.server.store import FILE, Store
    except ImportError as error:
        raise click.ClickException(f"the server needs `pip install vultus[server]` ({error})") from error
    if not (server_folder(config) / FILE).exists():
        raise click.ClickException(f"{server_folder(config)}: no server has run there yet")
    return Store(server_folder(config))
