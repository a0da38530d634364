"""Which convolutions an INT8 network leaves in floats: those whose rounding moves the answers most, for their arithmetic.

What one convolution in bytes alone does to a face's answer is measured, the others being in FP32. Such changes are small
and have little to do with one another, so their squares add up; the sums say which layers to leave out, and the network
that comes out is measured in the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.native import Engine
from vultus.weights.activations import Chips

Array = npt.NDArray[np.float64]

_MOST = 0.5
"""Of the arithmetic, about, that may be left in floats."""
_CHIPS = 128
"""At most, to measure on."""
_MARGIN = 1.15
"""By how much more than the last sum each further try takes away."""
_TRIES = 6


def vectors(file: bytes, chips: Chips) -> npt.NDArray[np.float32]:
    """(n, dim) of length 1: what a network's file makes of each face."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        path.write_bytes(file)
        return Engine(path).embed_chips(chips)


def losses(file: bytes, chips: Chips, expected: npt.NDArray[np.float32]) -> Array:
    """(n,) of each face: 1 - its cosine to `expected`, (n, dim) of length 1."""
    cosines: Array = np.einsum("nd,nd->n", vectors(file, chips), expected, dtype=np.float64)
    return 1 - cosines


def in_floats(
    costs: Mapping[str, float],
    alone: Callable[[str], bytes],
    without: Callable[[frozenset[str]], bytes],
    chips: Chips,
    expected: npt.NDArray[np.float32],
    goal: float,
    report: Callable[[float], None],
) -> frozenset[str]:
    """The convolutions to leave in floats: as little arithmetic as brings the worst face to `goal`, and at most half.

    Args:
        costs: what each convolution in bytes costs more in floats, in any unit.
        alone: the file with this convolution in bytes and all else in FP32.
        without: the INT8 file, these convolutions in floats.
        chips: (n, height, width, 3); some of them are measured on.
        expected: (n, dim) float32 of length 1, the answers in FP32.
        goal: the cosine to FP32 that every face is to have, 0..1.
        report: called with the share that is done, 0..1.
    """
    every = -(-len(chips) // _CHIPS)
    chips, expected = np.ascontiguousarray(chips[::every]), expected[::every]
    left = losses(without(frozenset()), chips, expected)
    if left.max() <= 1 - goal:
        return frozenset()
    own = {}
    for i, name in enumerate(costs):
        own[name] = losses(alone(name), chips, expected)
        report(i / len(costs))
    chosen: frozenset[str] = frozenset()
    most = 1 - goal
    for _ in range(_TRIES):
        more = _dropped(costs, own, left, most, chosen)
        if more == chosen:
            break
        chosen = more
        reached = losses(without(chosen), chips, expected).max()
        if reached <= 1 - goal:
            break
        most *= (1 - goal) / reached / _MARGIN
    return chosen


def _dropped(
    costs: Mapping[str, float], own: Mapping[str, Array], left: Array, most: float, before: frozenset[str]
) -> frozenset[str]:
    """`before` and what else is needed, as sums of squares have it, for no face to lose more than `most`."""
    chosen = set(before)
    room = _MOST * sum(costs.values()) - sum(costs[name] for name in chosen)
    now = left - sum((own[name] for name in chosen), np.zeros_like(left))
    while (bad := now > most).any():
        excess = (now - most)[bad]
        gains = {
            name: float(np.minimum(own[name][bad], excess).sum()) / cost
            for name, cost in costs.items()
            if name not in chosen and cost <= room
        }
        if not gains:
            break
        worst = max(gains, key=lambda name: gains[name])
        chosen.add(worst)
        room -= costs[worst]
        now = now - own[worst]
    return frozenset(chosen)
