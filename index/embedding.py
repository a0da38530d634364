"""The door through which every vector enters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

MAX_DIM = 8192


def normalised(vectors: ArrayLike, dim: int | None, what: str = "vectors") -> np.ndarray:
    """Return `vectors` as a new contiguous `(n, dim)` float32 array whose rows have length 1.

    `dim` none means any from 1 to 8192. Raises ValueError, naming the row, for anything that has no direction: another
    shape, not finite, or all zero. No rows at all are fine.
    """
    try:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is refused below
            rows = np.array(vectors, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be a table of numbers of shape (n, dim): {error}") from None
    if rows.shape[:1] == (0,) and rows.ndim <= 2:
        return np.empty((0, dim or 1), np.float32)
    if rows.ndim != 2 or not 1 <= rows.shape[1] <= MAX_DIM:
        raise ValueError(f"{what} must have the shape (n, dim) with dim from 1 to {MAX_DIM}, not {rows.shape}")
    if dim is not None:
        check_dim(rows, dim, what)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))  # of finite rows finite: 1e38² · 8192
    finite = np.isfinite(lengths)
    if not finite.all():
        raise ValueError(f"row {int(np.argmin(finite))} of {what} holds a NaN or infinity")
    if not lengths.all():
        raise ValueError(f"row {int(np.argmin(lengths))} of {what} is all zeros and points nowhere")
    np.divide(rows, lengths[:, None], out=rows, casting="same_kind")
    return rows


def check_dim(rows: np.ndarray, dim: int, what: str = "vectors") -> None:
    """Raise ValueError unless `rows` have the gallery's `dim`."""
    if rows.shape[1] != dim:
        raise ValueError(f"{what} have {rows.shape[1]} numbers each, but this gallery's have {dim}: another model?")
