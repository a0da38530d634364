"""The memory of every process over time, as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from vultus.cli.curves import curves
from vultus.cli.pages import document
from vultus.cli.pipeline_live import Live


def plot(run: Live, conditions: Mapping[str, object]) -> str:
    """An HTML page with resident memory and open files."""
    about = ", ".join(f"{key} {value}" for key, value in conditions.items())
    memory = {name: [(s.at, s.memory[name] / 1e6) for s in run.samples if name in s.memory] for name in _names(run)}
    files = {name: [(s.at, float(s.files[name])) for s in run.samples if name in s.files] for name in _names(run)}
    return document(
        "vultus bench pipeline",
        "body{font:14px sans-serif;margin:2em}",
        f"<h1>{run.cameras} cameras, {run.seconds:g} s</h1><p>{escape(about)}</p>"
        f"<h2>Resident memory, MB</h2>{_over_time(memory, 'MB')}"
        f"<h2>Open files</h2>{_over_time(files, 'files')}",
    )


def _names(run: Live) -> list[str]:
    return sorted({name for sample in run.samples for name in sample.memory})


def _over_time(rows: Mapping[str, list[tuple[float, float]]], up: str) -> str:
    return curves(rows, "seconds", up, from_zero=True)
