"""Weights to whole steps, one step for each output channel, so that the layer's answers change least.

Rounding one weight after the other, what each rounding changes is made up for by those that are still to come, as far
as inputs vary together ("optimal brain quantisation", Frantar and Alistarh, 2022, arXiv:2208.11580). Weights that the
engine multiplies in pairs stay within what its 16-bit sums hold (native/src/kernels/bytes.h).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int8]

MOST = 127
PAIR_MOST = 128
"""The positive weights of a pair add up to this at most, and so do the negative ones."""
_DAMPING = 0.01
"""Of the mean variance, added to each, so that inputs that never vary do no harm."""
_BLOCK = 64
_STEPS = 33
"""Sizes of steps that are tried, from one that holds the largest weight to one that holds half of it twice."""


def plain(weight: Array) -> tuple[Ints, Array]:
    """(rows, columns) float64 to whole steps and the step of each row, by itself: for weights that meet floats."""
    step = np.maximum(np.abs(weight).max(1), 1e-20) / MOST
    return np.round(weight / step[:, None]).astype(np.int8), step


def compensated(weight: Array, covariance: Array, paired: int) -> tuple[Ints, Array]:
    """Whole steps and the step of each row.

    Args:
        weight: (rows, columns) float64.
        covariance: of the inputs, (columns, columns), or (rows, columns, columns) where each row has inputs of its own.
        paired: the first columns, two by two, are pairs; the others meet no partner.
    """
    columns = weight.shape[1]
    diagonal = np.diagonal(covariance, axis1=-2, axis2=-1)
    damping = np.maximum(diagonal.mean(-1), 1e-20)[..., None, None] * _DAMPING
    step = _best_step(weight, np.broadcast_to(diagonal, weight.shape) + damping[..., 0], paired)
    # With the upper Cholesky factor of the inverse, row i says how the columns after i make up for column i.
    factor = np.linalg.cholesky(np.linalg.inv(covariance + damping * np.eye(columns)))
    factor = np.broadcast_to(np.swapaxes(factor, -1, -2), (weight.shape[0], columns, columns))
    left, steps, error = weight.copy(), np.zeros(weight.shape), np.zeros(weight.shape)
    for start in range(0, columns, _BLOCK):  # the columns after a block are told of it once, in one product
        end = min(start + _BLOCK, columns)
        for i in range(start, end):
            low, high = _limits(steps[:, i - 1] if i < paired and i % 2 else np.zeros(len(weight)))
            steps[:, i] = np.clip(np.round(left[:, i] / step), low, high)
            error[:, i] = (left[:, i] - steps[:, i] * step) / factor[:, i, i]
            left[:, i + 1 : end] -= error[:, i, None] * factor[:, i, i + 1 : end]
        if end < columns and covariance.ndim == 2:
            left[:, end:] -= error[:, start:end] @ factor[0, start:end, end:]
        elif end < columns:
            left[:, end:] -= np.einsum("ri,rij->rj", error[:, start:end], factor[:, start:end, end:])
    return steps.astype(np.int8), step


def _limits(partner: Array) -> tuple[Array, Array]:
    low = np.maximum(-MOST, -PAIR_MOST - np.minimum(partner, 0))
    return low, np.minimum(MOST, PAIR_MOST - np.maximum(partner, 0))


def _best_step(weight: Array, variance: Array, paired: int) -> Array:
    """Of each row the step with the smallest error if every weight is rounded by itself."""
    widest = np.maximum(np.abs(weight).max(1), 1e-20)
    best: Array = widest / 64
    least = np.full(len(weight), np.inf)
    for levels in np.linspace(64, 140, _STEPS):
        step = widest / levels
        steps = np.clip(np.round(weight / step[:, None]), -MOST, MOST)
        low, high = _limits(steps[:, 0:paired:2])
        steps[:, 1:paired:2] = np.clip(steps[:, 1:paired:2], low[:, : paired // 2], high[:, : paired // 2])
        error = ((steps * step[:, None] - weight) ** 2 * variance).sum(1)
        best, least = np.where(error < least, step, best).astype(np.float64), np.minimum(error, least)
    return best
