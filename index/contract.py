"""The narrow interface behind which a gallery stands: storage, search and care; implemented in `embedded` and `remote`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from msgspec import Struct

from vultus.index.calibration import Calibration
from vultus.index.denials import Denials
from vultus.index.storage import Connection, Storage
from vultus.index.types import Report, Where


class Candidates(Protocol):
    """An index that `vultus.index.search.rank` asks for the nearest faces."""

    @property
    def dim(self) -> int:
        """Numbers of a vector."""

    @property
    def exhaustive(self) -> bool:
        """Whether what is not among the candidates is less similar than they are."""

    @property
    def error(self) -> float:
        """How far, all but never exceeded, a similarity of `search` is from that of the vectors."""

    @property
    def fewest(self) -> int:
        """Candidates for which it is not worth asking for fewer."""

    @property
    def faces(self) -> np.ndarray:
        """Numbers of the faces that rows stand for, `(n,)` int64."""

    @property
    def people(self) -> np.ndarray:
        """Their owners, as `vultus.index.loading.OWNER` numbers them, `(n,)` int64."""

    @property
    def rows(self) -> np.ndarray | None:
        """The vectors, `(n, dim)` float32, if it holds them."""

    def __len__(self) -> int:
        """How many faces there are at most."""

    def search(self, probes: np.ndarray, count: int, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the best `count` rows of each probe or fewer, as similarities and rows; -1 where there are none."""

    def exact(self, probes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the similarities of the probes to rows, if it holds the vectors."""


class Look(Struct, frozen=True, kw_only=True):
    """What one search looks at."""

    index: Candidates
    mask: np.ndarray | None
    """Which rows of the index; none: all."""
    left_out: frozenset[int]
    """People who are passed over."""
    denials: Denials
    calibration: Calibration | None
    admits: Callable[[np.ndarray], np.ndarray]
    """Tells which of the faces `(n,)` int64, by number, the filter admits by their columns, `(n,)` bool."""


class IndexFigures(Struct, frozen=True, kw_only=True):
    """What a backend says of its index and its size; see `vultus.index.types.Stats`."""

    index: str
    bytes_per_vector: int
    last_snapshot: float | None
    size_bytes: int
    encrypted: bool = False
    recall: float | None = None


class Backend(Protocol):
    """Storage, search and care of an open gallery. What is not possible in one of the two raises NotInDatabase."""

    searches_here: bool
    """Whether this process's processors do the searching, so that searches had better wait for each other."""

    @property
    def storage(self) -> Storage:
        """The database."""

    def looking(self, connection: Connection, where: Where | None) -> AbstractContextManager[Look]:
        """Lend what a search on `connection` is to look at; it does not change meanwhile."""

    def figures(self, connection: Connection) -> IndexFigures:
        """Return kind and size of the index, and the size of all."""

    def near(
        self, connection: Connection, probes: np.ndarray, k: int, threshold: float
    ) -> list[list[tuple[int, float]]]:
        """Return for each probe up to `k` people, by the best face of each, whose similarity reaches the threshold.

        `probes` are `(n, dim)` float32 of length 1. People without a name have their numbers negated, hidden people are
        there too, faces of nobody are not. Raises `vultus.index.search.Moved` if that changed meanwhile.
        """

    def verify(self) -> Report:
        """Check everything that can be checked."""

    def convert(self, kind: str, memory: int | None, recall: float | None) -> str:
        """Give the gallery another kind of index; return which it has now. Raises UnknownKind."""

    def exchange_vectors(self, connection: Connection) -> None:
        """Put the vectors of the next model in place of those of this one, inside the caller's transaction.

        The caller has looked at none of these tables in it.
        """

    def moved_to(self, model: str) -> None:
        """Expect this model from now on, and write what makes the next opening quick."""

    def set_key(self, key: bytes | None) -> None:
        """Encrypt with a key of 32 bytes, give another key, or decrypt (none)."""

    def backup(self, target: Path) -> int:
        """Copy the gallery as it is into a new file; return its bytes."""

    def compact(self) -> int:
        """Give back the space of what was deleted; return how many bytes that is."""

    def snapshot(self) -> None:
        """Write what makes the next opening quick, if anything does."""

    def close(self, *, snapshot: bool | None) -> None:
        """Give everything back; a second call does nothing."""
