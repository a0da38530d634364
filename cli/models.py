"""`vultus models`."""

from __future__ import annotations

from pathlib import Path

import click

from vultus.cli.console import print_json, progress, say, table
from vultus.cli.options import json_option
from vultus.configs.loader import data_folder
from vultus.configs.schema import Models
from vultus.weights import Model, Registry

_DEFAULTS = (Models().detector, Models().embedder)


@click.group()
def models() -> None:
    """The neural networks: what there is, fetching it, and checking it.

    Models are kept in the user's data folder. Each is fetched from the sources that the manifest names, checked against
    its SHA-256 and only then used.
    """


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Every model, its licence, and whether it is here."""
    rows = Registry(data_folder()).status()
    if as_json:
        print_json(rows)
        return
    table(
        "",
        ("model", "kind", "here", "licence", ">dim", ">threshold", "what it is"),
        (
            (
                row.name,
                row.kind,
                row.state,
                row.licence if row.commercial else f"{row.licence}, not for commercial use",
                row.dim,
                row.threshold,
                row.about,
            )
            for row in rows
        ),
    )


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Take the source files from this folder instead of the network.",
)
@json_option
def pull(names: tuple[str, ...], from_dir: Path | None, as_json: bool) -> None:
    """Fetch models by NAME, or the two default ones."""
    fetched = _fetch(names or _DEFAULTS, from_dir=from_dir, visible=not as_json)
    if as_json:
        print_json([{"name": one.name, "path": str(one.path), "fingerprint": one.fingerprint} for one in fetched])


def fetch_defaults() -> None:
    """Pull the default models, with a progress bar, and say where they lie."""
    _fetch(_DEFAULTS)


def _fetch(names: tuple[str, ...], *, from_dir: Path | None = None, visible: bool = True) -> list[Model]:
    with progress(visible=visible) as bar:
        tasks = {name: bar.add_task(name, total=1.0) for name in names}

        def report(name: str, step: str, share: float) -> None:
            bar.update(tasks[name], description=f"{name}: {step}", completed=share)

        fetched = Registry(data_folder()).pull(names, from_dir=from_dir, progress=report)
    if visible:
        for model in fetched:
            say(f"{model.name}: ready, {model.licence}, {model.path}")
    return fetched


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Compare models with the manifest's hashes.

    Without a NAME, those on this machine. Exit code 1 if one is wrong or missing, 2 if none is here.
    """
    registry = Registry(data_folder())
    states = registry.verify(names or tuple(row.name for row in registry.status() if row.state != "missing"))
    if as_json:
        print_json([{"name": state.name, "state": state.state, "detail": state.detail} for state in states])
    else:
        table("", ("model", "state", "detail"), ((state.name, state.state, state.detail) for state in states))
    if not states:
        raise click.ClickException("no model is on this machine; `vultus models pull` fetches the default ones")
    ctx.exit(0 if all(state.state == "ok" for state in states) else 1)
