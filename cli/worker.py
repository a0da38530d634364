"""`vultus worker`."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

import click
from msgspec.structs import replace

from vultus.cli.console import say
from vultus.cli.options import config_option
from vultus.configs.loader import load, network_key_file
from vultus.pipeline.hosted import Hosted, assignments
from vultus.pipeline.keys import host_of, read


@click.command()
@config_option
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="This machine's keys.  [default: network.key_file, else `network.key` in the user's data folder]",
)
@click.option(
    "--main",
    "main",
    metavar="ADDRESS",
    help="Where the main machine is, if not at the addresses by which it listens (behind a router, say).",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", help="Processes for each group, instead of its `workers`."
)
@click.pass_context
def worker(
    ctx: click.Context, config_file: Path | None, key_file: Path | None, main: str | None, workers: int | None
) -> None:
    """Work for the `vultus watch` or `vultus index` of another machine, until Ctrl-C.

    The configuration is that of the main machine. This machine finds its own name in it by its key (`network.hosts`), does
    what the groups with this name in `hosts` are for, and needs their models (`vultus models pull`), but no gallery. It
    connects to the main machine, not the other way round, and tries again for ever: start it once, with the machine.

    Pictures and faces travel encrypted, to machines whose keys the configuration lists and to nobody else. What decides
    the answers (models, detection settings) comes from the main machine; embed.threads, embed.isa, detect.threads and
    models.backend are this machine's own.
    """
    config = load(config_file)
    if key_file is not None:
        config = replace(config, network=replace(config.network, key_file=str(key_file.absolute())))
    host = host_of(config, read(network_key_file(config)))
    todo = assignments(config, host, main, workers)
    if not todo:
        raise click.ClickException(f"this machine is {host}, and no group of the configuration names it in `hosts`")
    for one in todo:
        say(f"{host} works for {one.title} ({', '.join(one.group.stages)}) of {one.address}")
    hosted = Hosted(config, todo, lambda title, text: say(f"{title}: {text}"))
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        hosted.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    hosted.run()
    ctx.exit(130 if signal.SIGINT in seen else 0)
