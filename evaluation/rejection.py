"""What a measure of quality is worth: how many errors go away with the pictures that it calls bad.

P. Grother, E. Tabassi, "Performance of biometric quality measures", PAMI 29 (2007): at the threshold where a stated share of
the pairs of one person is refused (FNMR), the pairs of lowest quality are left out step by step; a pair is as good as the
worse of its two pictures. A measure that knows nothing leaves the rate where it was; a perfect one takes an error away with
each pair.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.evaluation.trials import Floats

_STEPS = np.linspace(0.0, 0.3, 31)
"""Shares of the pairs that are left out; nobody throws away more."""


class Rejection(Struct, frozen=True, kw_only=True):
    """The curve of one measure."""

    threshold: float
    """Similarity at and below which pairs are refused."""
    start: float
    """FNMR with all pairs."""
    curve: tuple[tuple[float, float], ...]
    """Share of the pairs left out, FNMR of the others."""
    gain: float
    """Area between the curve and a measure that knows nothing, as a share of the area of a perfect one: 1 is perfect, 0
    knows nothing, less than 0 is worse than that."""


def rejection(genuine: Floats, quality: npt.NDArray[np.floating], refused: float) -> Rejection:
    """The curve for `(n,)` similarities of pairs of one person and `(n,)` the worse quality of each pair.

    The threshold is the one that refuses the share `refused` of all pairs. Of pairs of equal quality all are left out in part,
    so that their order in the list means nothing. ValueError for fewer than two pairs.
    """
    count = len(genuine)
    wrong = max(1, round(refused * count)) if count else 0
    if count < 2:
        raise ValueError("curves need pairs of one person with a face in both pictures")
    threshold = float(np.sort(genuine)[wrong - 1])
    errors = (genuine <= threshold).astype(np.float64)
    start = float(errors.mean())
    values, group, sizes = np.unique(quality, return_inverse=True, return_counts=True)
    gone = np.concatenate(([0.0], np.cumsum(sizes)))
    lost = np.concatenate(([0.0], np.cumsum(np.bincount(group, errors, minlength=len(values)))))
    left_out = _STEPS * count
    remaining = errors.sum() - np.interp(left_out, gone, lost)
    curve = remaining / (count - left_out)
    perfect = np.maximum(errors.sum() - left_out, 0.0) / (count - left_out)
    gain = float((start - curve).sum() / (start - perfect).sum())
    return Rejection(
        threshold=threshold,
        start=start,
        curve=tuple(zip(_STEPS.tolist(), curve.tolist(), strict=True)),
        gain=gain,
    )
