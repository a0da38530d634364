"""`vultus bench`."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import onnx

from vultus.cli.bench_gallery import gallery
from vultus.cli.bench_pipeline import pipeline
from vultus.cli.console import line, print_json, say, table
from vultus.cli.contenders import PACKAGES, Result, Subject, contest, installed, subject
from vultus.cli.options import json_option
from vultus.configs.loader import data_folder
from vultus.native import LayerTime, cpu_features, peak_gflops
from vultus.weights import Registry, UnknownModel, mobilefacenet

_PAPER = "paper"


def _numbers(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """`1,32`."""
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= 1024 for part in parts):
        raise click.BadParameter(f"{text!r} is not one or several numbers from 1 to 1024, such as 1,2")
    return tuple(map(int, parts))


def _pictures(_ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """`640x480`, width first as people say it, as height and width."""
    sizes = []
    for text in texts:
        width, _, height = text.partition("x")
        if not all(side.isdecimal() and 1 <= int(side) <= 8192 for side in (width, height)):
            raise click.BadParameter(f"{text!r} is no size such as 640x480")
        sizes.append((int(height), int(width)))
    return tuple(sizes)


@click.group()
def bench() -> None:
    """Measure this machine; nothing here fails for being slow."""


bench.add_command(gallery)
bench.add_command(pipeline)


@bench.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--threads", callback=_numbers, default="1,2", show_default=True, metavar="N,...")
@click.option(
    "--batch", callback=_numbers, default="1,32", show_default=True, metavar="N,...", help="Images at a time."
)
@click.option(
    "--size",
    "sizes",
    callback=_pictures,
    multiple=True,
    default=("320x320", "640x480"),
    show_default=True,
    metavar="WxH",
    help="Picture for a network of any size; may be repeated.",
)
@click.option(
    "--peers",
    default="auto",
    show_default=True,
    metavar="auto|none|NAME,...",
    help=f"Who computes the same: {', '.join(PACKAGES)}; auto: those that are installed.",
)
@click.option("--layers/--no-layers", default=True, show_default=True, help="The table of each network's layers.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=4.0,
    show_default=True,
    help="For each combination of network, threads and batch.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of the pictures.")
@json_option
def engine(
    names: tuple[str, ...],
    threads: tuple[int, ...],
    batch: tuple[int, ...],
    sizes: tuple[tuple[int, int], ...],
    peers: str,
    layers: bool,
    seconds: float,
    seed: int,
    as_json: bool,
) -> None:
    """How fast the engine computes each MODEL. Other runtimes do the same beside it; a table says where the time goes.

    MODEL is a name of `vultus models list`, a file (EFM3 or ONNX, embedder or detector), or `paper`: the MobileFaceNet of
    the paper with random weights. Without one, all models that are on this machine.

    All contenders compute the same noise, in turns, so that a slow moment hits each; their answers are compared first.
    Milliseconds are of one image, the median and the best of the rounds; GFLOP/s and the share of peak go by the
    median, with the multiply-adds that the network states (layers computed by Winograd's method need fewer);
    `times vultus` is the median of the rounds' ratios. The peak is that of one core's FP32 multiply-adds,
    measured now, times the threads.
    """
    if max(threads) > 256:
        raise click.BadParameter("at most 256 threads")
    chosen, missing = _peers(peers)
    conditions = _conditions(seed, chosen)
    results: list[Result] = []
    profiles: dict[str, list[LayerTime]] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for what in _subjects(names, sizes, Path(folder), seed):
            label = f"{what.name} {what.size[1]}x{what.size[0]}"
            for count in threads:
                for images in batch:
                    say(f"{label}: {count} threads, {images} at a time")
                    rows, failed = contest(
                        what,
                        threads=count,
                        batch=images,
                        peers=chosen,
                        seconds=seconds,
                        seed=seed,
                        peak=_peak(conditions),
                    )
                    results += rows
                    absent |= {f"{label}, {peer}": reason for peer, reason in failed.items()}
            if layers:
                profiles[label] = _profile(what, max(batch))
    if as_json:
        rows_of_layers = {label: [layer._asdict() for layer in found] for label, found in profiles.items()}
        print_json({
            "conditions": conditions, "missing": missing, "failed": absent, "results": results, "layers": rows_of_layers,
        })  # fmt: skip
        return
    _tell(conditions, missing, absent, results)
    for label, found in profiles.items():
        line("")
        _tell_layers(label, found, _peak(conditions))


def _peers(text: str) -> tuple[list[str], dict[str, str]]:
    """Who takes part, and what is not installed, with the remedy."""
    wanted = list(PACKAGES) if text == "auto" else [] if text == "none" else text.replace(",", " ").split()
    unknown = [peer for peer in wanted if peer not in PACKAGES]
    if unknown:
        raise click.BadParameter(f"no peer is called {unknown[0]!r}; there are: {', '.join(PACKAGES)}")
    absent = {peer: "not installed; `pip install 'vultus[bench]'`" for peer in wanted if not installed(PACKAGES[peer])}
    return [peer for peer in wanted if peer not in absent], absent


def _subjects(names: Sequence[str], sizes: tuple[tuple[int, int], ...], folder: Path, seed: int) -> list[Subject]:
    registry = Registry(data_folder())
    here = [row.name for row in registry.status() if row.state == "ok"]
    if not names and not here:
        say(f"no model is on this machine (`vultus models pull` fetches the default ones); measuring `{_PAPER}`")
    found = []
    for name in names or here or [_PAPER]:
        path = _path(name, registry, folder, seed)
        first = subject(path, name, sizes[0])
        more = sizes[1:] if first.network is not None and first.network.input_size is None else ()
        found += [first, *(subject(path, name, size) for size in more)]
    return found


def _path(name: str, registry: Registry, folder: Path, seed: int) -> Path:
    if name == _PAPER:
        path = folder / "paper.onnx"
        onnx.save(mobilefacenet.random(np.random.default_rng(seed)), path)
        return path
    if name in registry.names():
        return registry.resolve(name).path
    if not Path(name).is_file():
        raise UnknownModel(
            f"{name}: neither a file nor a model; the models are {', '.join(registry.names())}, {_PAPER}"
        )
    return Path(name)


def _profile(what: Subject, batch: int) -> list[LayerTime]:
    if what.engine is not None:
        return what.engine.profile(batch=batch, rounds=10)
    assert what.network is not None
    return what.network.profile(what.size, rounds=10)


def _conditions(seed: int, peers: Sequence[str]) -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    processors = [row.split(":", 1)[1].strip() for row in cpuinfo.splitlines() if row.startswith("model name")]
    load = Path("/proc/loadavg")
    return {
        "machine": platform.machine(),
        "processor": processors[0] if processors else platform.processor(),
        "processors": len(processors) or None,
        "features": [name for name, there in cpu_features()["features"].items() if there],
        "load": float(load.read_text().split()[0]) if load.exists() else None,
        "peak_gflops": round(max(peak_gflops(seconds=0.3) for _ in range(3)), 1),
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            "vultus": installed("vultus"),
            **{peer: installed(PACKAGES[peer]) for peer in peers},
        },
    }


def _peak(conditions: dict[str, object]) -> float:
    return float(str(conditions["peak_gflops"]))


def _tell(
    conditions: dict[str, object], missing: dict[str, str], absent: dict[str, str], results: Sequence[Result]
) -> None:
    for key, value in conditions.items():
        line(f"{key}: {value}")
    for peer, reason in {**missing, **absent}.items():
        line(f"left out: {peer}: {reason}", "yellow")
    table(
        "",
        ("model", "size", ">threads", ">batch", "contender", ">ms", ">best", ">GFLOP/s", ">of peak", ">times vultus"),
        (
            (
                row.model if len(row.model) < 40 else Path(row.model).name,
                f"{row.size[1]}x{row.size[0]}",
                row.threads,
                row.batch,
                row.contender,
                f"{row.ms:.3f}",
                f"{row.ms_best:.3f}",
                f"{row.gflops:.1f}",
                f"{row.share_of_peak:.0%}",
                f"{row.times_vultus:.2f}",
            )
            for row in results
        ),
    )


def _tell_layers(label: str, layers: Sequence[LayerTime], peak: float) -> None:
    whole = sum(layer.seconds for layer in layers)
    macs = sum(layer.macs for layer in layers)
    rows = [
        (
            f"{layer.seconds * 1e3:.4f}",
            f"{layer.seconds / whole:.1%}",
            f"{2e-9 * layer.macs / layer.seconds:.1f}" if layer.macs and layer.seconds else "",
            f"{2e-9 * layer.macs / layer.seconds / peak:.0%}" if layer.macs and layer.seconds else "",
            "" if layer.group is None else layer.group,
            layer.text or layer.kind,
        )
        for layer in layers
    ]
    speed = 2e-9 * macs / whole
    rows.append((f"{whole * 1e3:.4f}", "100.0%", f"{speed:.1f}", f"{speed / peak:.0%}", "", "together"))
    table(
        f"{label}, layers: one thread, of one image; layers of a group are computed together, in bands of rows",
        (">ms", ">of time", ">GFLOP/s", ">of peak", ">group", "layer"),
        rows,
    )
