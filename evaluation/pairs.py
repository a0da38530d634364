"""Lists of pairs of photographs, in the form of LFW's `pairs.txt`.

The first line says how many folds there are and how many pairs of each kind a fold has (`10  300`), or only the latter for one
fold (`pairsDevTest.txt`). Then follow, fold after fold, `NAME  i  j` for two photographs of one person and `NAME  i  OTHER  j`
for one of each of two people. Photograph `i` of `NAME` is `NAME/NAME_0001.jpg`, with four digits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.evaluation.errors import BadList
from vultus.evaluation.lists import lines_of

_MOST_PAIRS = 1_000_000
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Pairs(Struct, frozen=True, kw_only=True, eq=False):
    """A list of pairs, every photograph once."""

    photos: tuple[str, ...]
    """Paths below the folder of photographs, without ending."""
    names: tuple[str, ...]
    """`(photos,)` who is on each."""
    pairs: npt.NDArray[np.int64]
    """`(n, 2)` positions in `photos`."""
    same: npt.NDArray[np.bool_]
    """`(n,)` whether a pair shows one person."""
    fold: npt.NDArray[np.int64] | None
    """`(n,)`; none for a list of one fold."""

    @property
    def people(self) -> npt.NDArray[np.int64]:
        """`(photos,)` a number for each name."""
        return np.unique(self.names, return_inverse=True)[1].astype(np.int64)


def read(path: Path) -> Pairs:
    """The list at `path`. Raises BadList (a ValueError) with the line that is wrong."""
    lines = lines_of(path, "pairs", "; a set of InsightFace ends in .bin")
    folds, each = _first(path, lines[0].split() if lines else [])
    rows = [(number, line.split()) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(rows) != folds * each * 2:
        wanted = f"{folds} × 2 × {each} = {folds * each * 2}"
        raise BadList(f"{path}: {len(rows)} pairs, and the first line announces {wanted}")
    known: dict[tuple[str, int], int] = {}
    pairs = np.empty((len(rows), 2), np.int64)
    same = np.empty(len(rows), bool)
    for at, (number, words) in enumerate(rows):
        (first, second) = _pair(path, number, words)
        pairs[at] = known.setdefault(first, len(known)), known.setdefault(second, len(known))
        same[at] = first[0] == second[0]
    return Pairs(
        photos=tuple(f"{name}/{name}_{index:04d}" for name, index in known),
        names=tuple(name for name, _ in known),
        pairs=pairs,
        same=same,
        fold=np.arange(len(rows)) // (2 * each) if folds > 1 else None,
    )


def locate(folder: Path, photo: str) -> Path:
    """The file of a photograph; FileNotFoundError if `folder` has none."""
    for ending in _ENDINGS:
        found = folder / f"{photo}{ending}"
        if found.is_file():
            return found
    raise FileNotFoundError(f"{folder / photo}.jpg: the list names it and the folder does not have it")


def _first(path: Path, words: list[str]) -> tuple[int, int]:
    if len(words) not in (1, 2) or not all(word.isascii() and word.isdecimal() and len(word) < 8 for word in words):
        raise BadList(f"{path}: the first line says how many folds and pairs there are, for instance `10 300`")
    folds, each = (int(word) for word in (["1", *words][-2:]))
    if not 0 < folds * each * 2 <= _MOST_PAIRS:
        raise BadList(f"{path}: announces {folds * each * 2} pairs; 1 to {_MOST_PAIRS} are read")
    return folds, each


def _pair(path: Path, number: int, words: list[str]) -> tuple[tuple[str, int], tuple[str, int]]:
    if len(words) == 3:
        words = [words[0], words[1], words[0], words[2]]
    if len(words) != 4:
        raise BadList(f"{path}, line {number}: neither `NAME i j` nor `NAME i OTHER j`")
    (name, index), (other, another) = words[:2], words[2:]
    for one in (name, other):
        if "/" in one or "\\" in one or "\0" in one or one.startswith("."):
            raise BadList(f"{path}, line {number}: {one!r} is no name of a folder below the photographs")
    for text in (index, another):
        if not (text.isascii() and text.isdecimal() and len(text) < 8):
            raise BadList(f"{path}, line {number}: {text!r} is no number of a photograph")
    return (name, int(index)), (other, int(another))
