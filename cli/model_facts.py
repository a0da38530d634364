"""What is known of a model, in words."""

from __future__ import annotations

from vultus.weights.manifest import Entry, Measured


def megabytes(size: int) -> str:
    """`38.7 MB`."""
    return f"{size / 1e6:.3g} MB" if size < 100e6 else f"{size / 1e6:.0f} MB"


def accuracy(measured: Measured | None) -> str:
    """`99.3% (LFW)`, or that nobody measured it."""
    return "not measured" if measured is None else f"{100 * measured.accuracy:.2f}% ({measured.protocol})"


def takes(entry: Entry) -> str:
    """How pictures must be put to it."""
    height, width = entry.input_size
    return f"{height}×{width} pixels, {entry.colour.upper()}, {normalisation(entry.mean, entry.std)}"


def normalisation(mean: tuple[float, float, float], std: tuple[float, float, float]) -> str:
    """`(x - 127.5) / 128`, and `0..255` for pixels as they are."""
    if not any(mean) and set(std) == {1.0}:
        return "0..255"

    def three(values: tuple[float, float, float]) -> str:
        return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{value:g}' for value in values)})"

    return f"x / {three(std)}" if not any(mean) else f"(x - {three(mean)}) / {three(std)}"
