"""`vultus models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from vultus.cli.adding import add
from vultus.cli.console import counted, out, print_json, progress, say, table
from vultus.cli.export import export
from vultus.cli.licence import accept_licence_option, accept_with, agree
from vultus.cli.model_facts import accuracy, megabytes, takes
from vultus.cli.model_file import facts_of
from vultus.cli.options import json_option
from vultus.cli.quantise import quantize
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config, Models
from vultus.stages.landmarks import landmark_models
from vultus.weights import Model, Registry, Status

if TYPE_CHECKING:
    from vultus.weights.verify import Difference

_DEFAULTS = (Models().detector, Models().embedder, *landmark_models(Config()))
_WIDE = 132
"""Letters in a line from which on there is room for everything about each model."""


@click.group()
def models() -> None:
    """The neural networks: what there is, fetching it, and checking it.

    Models are kept in the user's data folder. Each is fetched from the sources that the manifest names, checked against
    its SHA-256 and only then used.
    """


models.add_command(add)
models.add_command(export)
models.add_command(quantize)


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Every model: its size and figures, and whether it is here.

    Accuracy and speed (milliseconds on one core of a face or, for detectors, a photograph) are those of this project's own
    tables (docs/accuracy.md); a model that is not in them has none. `vultus models show NAME` says all about one, and what
    its accuracy was measured on. On a narrow terminal thresholds and descriptions are left out.

    The last line, on standard error, names the default models; with --json they have "default": true.
    """
    rows = Registry(data_folder()).status()
    if as_json:
        print_json([{**msgspec.to_builtins(row), "default": row.name in _DEFAULTS} for row in rows])
        return
    columns = ["model", "kind", "here", ">size", "commercial", ">dim", ">accuracy", ">ms", ">threshold", "what it is"]
    columns = columns[: None if out.width >= _WIDE else -2]
    table("", columns, (_facts(row)[: len(columns)] for row in rows))
    detector, embedder, *landmarks = _DEFAULTS
    say(
        f"The defaults are {detector}, {embedder} and, for landmarks, {', '.join(landmarks)}; `models` and"
        " `detect.landmarks` of the configuration choose others."
    )


def _facts(row: Status) -> tuple[object, ...]:
    return (
        row.name,
        row.kind,
        "licence not accepted" if row.state == "ok" and not row.accepted else row.state,
        megabytes(row.download if row.bytes is None else row.bytes),
        "yes" if row.commercial else "no",
        row.dim,
        None if row.measured is None else f"{100 * row.measured.accuracy:.2f}%",
        None if row.measured is None else f"{row.measured.milliseconds:.3g}",
        row.threshold,
        row.about,
    )


@models.command()
@click.argument("name", metavar="NAME|FILE")
@json_option
def show(name: str, as_json: bool) -> None:
    """All about one model. Sources, licence, sizes, what it takes, how good and how fast it is.

    Of a FILE, EFM3 or ONNX, what it says itself: what it takes and gives, its layers, the memory it wants.

    \b
    vultus models show sface_2021dec
    vultus models show mobilefacenet.bin --json
    """
    registry = Registry(data_folder())
    if name not in registry.names() and Path(name).is_file():
        facts = facts_of(Path(name))
        if as_json:
            print_json(facts)
        else:
            table("", ("", ""), facts.rows())
        return
    state, entry = registry.state(name), registry.entry(name)
    if as_json:
        print_json({**msgspec.to_builtins(state), "entry": entry})
        return
    measured = state.measured
    speed = None if measured is None else f"{measured.milliseconds:.3g} ms, {measured.machine}"
    rows: list[tuple[str, object]] = [
        ("model", f"{name}: {state.about}"),
        ("kind", state.kind),
        ("here", {"ok": "yes", "missing": f"no; `vultus models pull {name}`", "wrong": "a wrong file"}[state.state]),
        ("licence", state.licence),
        ("commercial use", "yes" if state.commercial else "no"),
        ("made by", state.origin),
        *((f"source {number}", source) for number, source in enumerate(state.sources, start=1)),
        ("published file", f"{megabytes(state.download)}, SHA-256 {entry.source.sha256}"),
        ("takes", takes(entry)),
        ("accuracy", accuracy(measured)),
        ("speed", speed or "not measured"),
    ]
    if not state.commercial:
        rows.insert(5, ("accepted", "yes" if state.accepted else f"no; {accept_with(name)}"))
    if state.kind == "embedder":
        rows += [("gives", f"{state.dim} numbers"), ("threshold", state.threshold or "none: configure or calibrate it")]
    if state.bytes is not None:
        rows.append(("file", f"{registry.path(name)}, {megabytes(state.bytes)}"))
    table("", ("", ""), rows)


@models.command()
@click.argument("name")
def remove(name: str) -> None:
    """Delete a model's file; one that was added is forgotten too.

    A gallery that it filled keeps its faces, and is searched again once the same model is back under the same name.
    """
    registry = Registry(data_folder())
    own = registry.state(name).own
    registry.remove(name)
    say(f"{name}: {'forgotten' if own else 'its file is deleted; `vultus models pull` fetches it again'}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Take the source files from this folder instead of the network.",
)
@accept_licence_option
@json_option
def pull(names: tuple[str, ...], from_dir: Path | None, accept_licence: bool, as_json: bool) -> None:
    """Fetch models by NAME, or the default ones. What they need comes too; by default a detector, an embedder and O-Net.

    A model whose licence forbids commercial use is fetched once you accepted that: asked for, or with --accept-licence.

    \b
    vultus models pull
    vultus models pull mtcnn rfb_640
    vultus models pull w600k_r50 --from ~/buffalo_l --accept-licence
    """
    registry = Registry(data_folder())
    for name in names:
        agree(registry, name, accept_licence)
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
            if name not in tasks:  # what another needs
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], description=f"{name}: {step}", completed=share)

        fetched = Registry(data_folder()).pull(names, from_dir=from_dir, progress=report)
    if visible:
        for model in fetched:
            say(f"{model.name}: ready, {model.licence}, {model.path}")
    return fetched


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Compare with what this ONNX file or checkpoint (PyTorch, Keras) says instead of with what the model itself says.",
)
@click.option("--compute", is_flag=True, help="Compute models that are given by NAME too.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    metavar="T",
    help="Largest difference allowed.  [default: 1.3e-5 of embeddings (0.1 in INT8), 1e-4 of other outputs]",
)
@click.option("--samples", type=click.IntRange(1, 1000), default=2, show_default=True, help="Pictures to compute.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of the pictures.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    names: tuple[str, ...],
    against: Path | None,
    compute: bool,
    tolerance: float | None,
    samples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Check that models are whole and compute as they should.

    A NAME of `vultus models list` is compared with the manifest's hash; without an argument, all that are on this machine
    are. A FILE, EFM3 or ONNX, is computed by the engine with each kind of its kernels, on noise, and compared with the
    reference evaluator of the package onnx in double precision, and with ONNX Runtime if it is installed. The largest
    difference is that of any number of an embedding of length 1, or of another output as a share of its largest number. An
    INT8 EFM3 FILE is compared with the one it was made of: --against.

    Exit code 1 if one is wrong or missing or differs by more than the tolerance, 2 if nothing is here.

    \b
    vultus models verify
    vultus models verify mobilefacenet.bin --against checkpoint.pth
    vultus models verify mobilefacenet.int8.bin --against mobilefacenet.bin
    """
    if against is not None and len(names) != 1:
        raise click.UsageError("--against goes with one FILE or NAME")
    registry = Registry(data_folder())
    known = registry.names()
    if not names:
        names = tuple(row.name for row in registry.status() if row.state != "missing")
    checked = [
        _checked(name, registry, compute or against is not None, against, samples, seed, tolerance)
        if name in known
        else _computed(name, Path(name), against, samples, seed, tolerance)
        for name in names
    ]
    if as_json:
        print_json(checked)
    else:
        table("", ("model", "state", "detail"), ((one["name"], one["state"], one["detail"]) for one in checked))
        for one in checked:
            _tell_differences(one)
    if not checked:
        raise click.ClickException("no model is on this machine; `vultus models pull` fetches the default ones")
    ctx.exit(0 if all(one["state"] == "ok" for one in checked) else 1)


def _checked(
    name: str,
    registry: Registry,
    compute: bool,
    against: Path | None,
    samples: int,
    seed: int,
    tolerance: float | None,
) -> dict[str, Any]:
    """A model of the manifest: its hash, and if wanted what it computes."""
    (state,) = registry.verify([name])
    if compute and state.state == "ok":
        return _computed(name, registry.resolve(name).path, against, samples, seed, tolerance)
    return {"name": name, "state": state.state, "detail": state.detail}


def _computed(
    name: str, path: Path, against: Path | None, samples: int, seed: int, tolerance: float | None
) -> dict[str, Any]:
    """A file: whether the engine computes it as others do."""
    from vultus.weights.verify import verify as judged  # `onnx` is for this moment only

    try:
        verdict = judged(path, against=against, samples=samples, seed=seed, tolerance=tolerance)
    except FileNotFoundError:
        models = ", ".join(Registry(data_folder()).names())
        return {"name": name, "state": "missing", "detail": f"neither a file nor a model; the models are {models}"}
    except (ValueError, OSError) as error:
        return {"name": name, "state": "wrong", "detail": str(error)}
    worst = max((one.largest for one in verdict.differences), default=None)
    detail = (
        "nobody here can judge it"
        if worst is None
        else f"largest difference {worst:.2g}, tolerance {verdict.tolerance:g}"
    )
    return {
        "name": name,
        "state": "ok" if verdict.holds else "wrong",
        "detail": detail,
        "largest": worst,
        "tolerance": verdict.tolerance,
        "samples": samples,
        "seed": seed,
        "differences": verdict.differences,
        "left_out": verdict.left_out,
    }


def _tell_differences(one: dict[str, Any]) -> None:
    """For each kind of kernels and judge the output that differs most."""
    worst: dict[tuple[str, str], Difference] = {}
    for difference in one.get("differences", ()):
        key = (difference.isa, difference.judge)
        if key not in worst or difference.largest > worst[key].largest:
            worst[key] = difference
    if worst:
        table(
            f"{one['name']}, {counted(one['samples'], 'picture')} of noise, seed {one['seed']}",
            ("kernels", "judge", ">largest difference", ">smallest cosine", "output"),
            (
                (
                    row.isa,
                    row.judge,
                    f"{row.largest:.3g}",
                    None if row.cosine is None else f"{row.cosine:.9f}",
                    row.output,
                )
                for row in worst.values()
            ),
        )
    for judge, reason in one.get("left_out", {}).items():
        say(f"{one['name']}: without {judge}: {reason}", style="yellow")
