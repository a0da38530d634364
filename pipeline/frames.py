"""Pictures, in this process's memory or leased from another's shared memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Image:
    """One picture: `(h, w, 3)` uint8 BGR, C-contiguous. What was handed on in a message is not written to again."""

    __slots__ = ("_array",)

    def __init__(self, array: npt.NDArray[np.uint8]) -> None:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"a picture is (h, w, 3) uint8, not {array.shape} {array.dtype}")
        self._array = np.ascontiguousarray(array)

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The pixels."""
        return self._array

    def valid(self) -> bool:
        """Whether the pixels are still those of this frame."""
        return True
