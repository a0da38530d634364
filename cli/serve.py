"""`vultus serve`."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from vultus.cli.console import say
from vultus.cli.options import config_option, configured, gallery_option
from vultus.configs.address import Place


@click.command()
@gallery_option
@config_option
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to answer.  [default: serve.listen, 127.0.0.1:8470]")
def serve(gallery_dir: Place | None, config_file: Path | None, listen: str | None) -> None:
    """Serve the gallery over HTTP: an API for programs and pages for people.

    Open http://127.0.0.1:8470/ in a browser; /api/v1/openapi.json describes the API. Ctrl-C ends it, and lets what is being
    answered end first.
    """
    config, _ = configured(config_file, gallery_dir)
    if listen is not None:
        config = replace(config, serve=replace(config.serve, listen=listen))
    try:
        from vultus.server import logs
        from vultus.server.services import Services
        from vultus.server.serving import Server, bound
    except ImportError as error:
        raise click.ClickException(f"the server needs `pip install vultus[server]` ({error})") from error
    logs.begin(config.serve.log)
    with bound(config) as listening, Services(config) as services:
        host, port = listening.getsockname()[:2]
        scheme = "http" if config.serve.tls_key is None else "https"
        say(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/")
        Server(services).run(sockets=[listening])
