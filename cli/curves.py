"""Curves as SVG, for pages that need nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

_WIDE, _TALL, _LEFT, _LOW, _LEGEND = 620, 340, 60, 44, 190
COLOURS = ("#4269d0", "#ff725c", "#3ca951", "#efb118", "#a463f2", "#6cc5b0", "#9c6b4e", "#ff8ab7", "#97bbf5", "#9498a0")
Points = Sequence[tuple[float, float]]


def curves(
    rows: Mapping[str, Points],
    across: str,
    up: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    from_zero: bool = False,
) -> str:
    """One `<svg>` with a line for each row; `across` and `up` name the axes.

    A logarithmic axis has no points at 0. With `from_zero` the upright axis begins there, so that growth shows its share.
    """
    kept = {
        name: [(x, y) for x, y in points if (x > 0 or not log_x) and (y > 0 or not log_y)]
        for name, points in rows.items()
    }
    every = [point for points in kept.values() for point in points]
    if not every:
        return f"<p>Nothing to draw of {escape(up)} over {escape(across)}.</p>"
    x_at, x_ticks = _axis([x for x, _ in every], log_x, _LEFT, _WIDE)
    y_at, y_ticks = _axis([*([0.0] if from_zero else []), *(y for _, y in every)], log_y, _TALL, 10)
    parts = [
        f'<svg viewBox="0 0 {_WIDE + _LEGEND} {_TALL + _LOW}" width="{_WIDE + _LEGEND}" role="img" font-size="12">'
    ]
    for tick in x_ticks:
        x = x_at(tick)
        parts.append(f'<path d="M{x:.1f} 10V{_TALL}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TALL + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        y = y_at(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDE}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDE) / 2}" y="{_TALL + 36}" text-anchor="middle">{escape(across)}</text>')
    middle = _TALL / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(up)}</text>')
    for number, (name, points) in enumerate(kept.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{_WIDE + 10}" y="{20 + 16 * number}" fill="{colour}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _axis(values: Sequence[float], log: bool, start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies on an axis from `start` to `end`, in pixels, and the values that are written on it."""
    low, high = min(values), max(values)
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        last = max(last, first + 1)
        return (
            lambda value: start + (math.log10(value) - first) / (last - first) * (end - start),
            [10.0**power for power in range(first, last + 1)],
        )
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-6)))
    step = next(part * step for part in (0.1, 0.2, 0.5, 1.0) if (high - low) / (part * step) <= 8 or part == 1.0)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return (
        lambda value: start + (value / step - first) / (last - first) * (end - start),
        [round(number * step, 10) for number in range(first, last + 1)],
    )
