"""Codes in blocks of 32 rows, as FAISS's fast scans read them; how a block is laid out is for FAISS's packer to know."""

from __future__ import annotations

from typing import Any

import numpy as np


def unpacked(packer: Any, blocks: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the codes of rows of packed blocks, `(n, bytes)` uint8."""
    out = np.empty((len(rows), packer.code_size), np.uint8)
    for at, row in enumerate(rows.tolist()):
        out[at] = packer.unpack_1(blocks[row // 32 :][:1], row % 32)
    return out


def pack(packer: Any, blocks: np.ndarray, rows: np.ndarray, codes: np.ndarray) -> None:
    """Put codes `(n, bytes)` into rows of packed blocks."""
    for row, code in zip(rows.tolist(), codes, strict=True):
        packer.pack_1(code, row % 32, blocks[row // 32 :][:1])


def move(packer: Any, blocks: np.ndarray, holes: np.ndarray, movers: np.ndarray, kept: int) -> None:
    """Put the rows `movers` of packed blocks into the rows `holes`, and clear the rest of the last block that is kept."""
    pack(packer, blocks, holes, unpacked(packer, blocks, movers))
    cleared = np.arange(kept, min(-(-kept // 32), len(blocks)) * 32)  # adding sets bits and clears none
    pack(packer, blocks, cleared, np.zeros((len(cleared), packer.code_size), np.uint8))
