"""The memory of every process over time, as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from vultus.cli.pipeline_live import Live

_WIDE, _TALL, _LEFT, _LOW = 900, 360, 60, 30
_COLOURS = (
    "#4269d0",
    "#efb118",
    "#ff725c",
    "#6cc5b0",
    "#3ca951",
    "#ff8ab7",
    "#a463f2",
    "#97bbf5",
    "#9c6b4e",
    "#9498a0",
)


def plot(run: Live, conditions: Mapping[str, object]) -> str:
    """An HTML page with resident memory and open files."""
    about = ", ".join(f"{key} {value}" for key, value in conditions.items())
    memory = {name: [(s.at, s.memory[name] / 1e6) for s in run.samples if name in s.memory] for name in _names(run)}
    files = {name: [(s.at, float(s.files[name])) for s in run.samples if name in s.files] for name in _names(run)}
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>vultus bench pipeline</title>'
        "<style>body{font:14px sans-serif;margin:2em}text{font:12px sans-serif}</style>"
        f"<h1>{run.cameras} cameras, {run.seconds:g} s</h1><p>{escape(about)}</p>"
        f"<h2>Resident memory, MB</h2>{_chart(memory)}<h2>Open files</h2>{_chart(files)}</html>"
    )


def _names(run: Live) -> list[str]:
    return sorted({name for sample in run.samples for name in sample.memory})


def _chart(rows: Mapping[str, list[tuple[float, float]]]) -> str:
    points = [point for row in rows.values() for point in row]
    last, most = max((x for x, _ in points), default=1.0), 1.1 * max((y for _, y in points), default=1.0)
    parts = [f'<svg width="{_WIDE + 180}" height="{_TALL + _LOW}" role="img">']
    for step in range(5):
        y, x = _TALL - _TALL * step / 4, _LEFT + (_WIDE - _LEFT) * step / 4
        parts.append(
            f'<path d="M{_LEFT} {y}H{_WIDE}" stroke="#ddd"/><text x="4" y="{y + 4}">{most * step / 4:.0f}</text>'
        )
        parts.append(f'<text x="{x}" y="{_TALL + 18}">{last * step / 4:.0f} s</text>')
    for number, (name, row) in enumerate(rows.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        line = " ".join(f"{_LEFT + (_WIDE - _LEFT) * x / last:.1f},{_TALL - _TALL * y / most:.1f}" for x, y in row)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_WIDE + 10}" y="{16 + 16 * number}" fill="{colour}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])
