"""`vultus serve`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from vultus.cli.console import say
from vultus.cli.options import config_option, configured, gallery_option
from vultus.configs.address import Place
from vultus.configs.errors import ConfigError
from vultus.configs.schema import Config

if TYPE_CHECKING:
    from vultus.server.services import Services


@click.command()
@gallery_option
@config_option
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to answer.  [default: serve.listen, 127.0.0.1:8470]")
def serve(gallery_dir: Place | None, config_file: Path | None, listen: str | None) -> None:
    """Serve the gallery over HTTP: an API for programs and pages for people.

    Open http://127.0.0.1:8470/ in a browser; /api/v1/openapi.json describes the API. Others than this machine's own get in once
    there are users (vultus users add NAME --role admin). Ctrl-C ends it, and lets what is being answered end first; SIGHUP lets
    it read cameras and archives of the configuration again.
    """

    def read() -> Config:
        config, _ = configured(config_file, gallery_dir)
        return config if listen is None else replace(config, serve=replace(config.serve, listen=listen))

    config = read()
    try:
        from vultus.server import logs
        from vultus.server.services import Services
        from vultus.server.serving import Server, bound
    except ImportError as error:
        raise click.ClickException(f"the server needs `pip install vultus[server]` ({error})") from error
    logs.begin(config.serve.log)
    with bound(config) as listening, Services(config, read if config_file else None) as services:
        host, port = listening.getsockname()[:2]
        scheme = "http" if config.serve.tls_key is None else "https"
        say(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/")
        _say_who_gets_in(services)
        with _reloaded_by_signal(services):
            Server(services).run(sockets=[listening])


def _say_who_gets_in(services: Services) -> None:
    serve = services.config.serve
    if not services.accounts.users.any():
        say("nobody has to sign in: whoever uses this machine may do everything (`vultus users add NAME --role admin`)")
    elif not serve.on_loopback and serve.tls_key is None and not serve.proxies:
        say(
            "not encrypted: passwords can be read on the way (serve.tls_certificate and serve.tls_key, or a proxy)",
            "yellow",
        )


@contextmanager
def _reloaded_by_signal(services: Services) -> Iterator[None]:
    """While inside, SIGHUP lets the configuration be read again, in a thread: what is answered now goes on meanwhile."""

    def reload() -> None:
        try:
            found = services.reload()
        except ConfigError as error:
            say(f"not reloaded: {error}", "yellow")
            return
        later = f"; after a restart: {', '.join(found.restart)}" if found.restart else ""
        say(f"reloaded: {', '.join(found.changed) or 'nothing changed'}{later}")

    before = signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=reload, name="reload").start())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
