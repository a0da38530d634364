"""Search by the database itself: what `vultus.index.search.rank` asks of an index, answered by pgvector.

pgvector finds candidates, and all that is decided is decided from the stored vectors, as with an index in memory: so both
give the same answers. Without an index of its own the database reads every vector; its similarities are sums of float32
and off by a rounding or two, which `error` bounds. With an HNSW index it reads a part, in 16-bit numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.index.loading import OWNER
from vultus.index.storage import Connection
from vultus.index.vectors import NOBODY

HNSW = "vectors_hnsw"
_ROUNDING = 2.0**-24
_HALF = 2.0**-10
"""How far a product of vectors of length 1 may move when each number of both is rounded to 11 bits."""


class DatabaseIndex:
    """The faces that a search of one state of the database looks at."""

    fewest = 0

    def __init__(self, connection: Connection, terms: Sequence[str], values: Sequence[object]) -> None:
        """Look at the faces `f`, with identities `i`, that fit all SQL `terms`, whose parameters are `values`."""
        self._connection = connection
        self._values = tuple(values)
        dim, last, hnsw = connection.execute(
            "SELECT dim, (SELECT max(id) FROM faces), coalesce((SELECT indisvalid FROM pg_index "
            "WHERE indexrelid = to_regclass(?)), false) FROM gallery",
            (HNSW,),
        ).fetchone()
        self.dim: int = dim or 1
        self.exhaustive = not hnsw
        self.error = _HALF if hnsw else self.dim * _ROUNDING
        self.faces, self.people = np.zeros(1, np.int64), np.full(1, NOBODY, np.int64)
        """Of those found so far; the first stands where nothing was found."""
        self._most: int = last or 0
        self._whole: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        joined = "JOIN faces f ON f.id = v.face LEFT JOIN identities i ON i.id = f.identity"
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        near = (
            f"CAST(v.vector AS halfvec({self.dim})) <#> CAST(? AS halfvec)"
            if hnsw
            else "v.vector <#> CAST(? AS vector)"
        )
        self._query = (
            f"SELECT v.face, {OWNER}, v.far FROM (SELECT v.face, {near} AS far FROM vectors v "  # noqa: S608 - literals
            f"{joined if terms else ''} {where} ORDER BY far LIMIT ?) v {joined} ORDER BY v.far, v.face"
        )

    @property
    def rows(self) -> None:
        """None, as of a kind that holds no vectors: they are read from the database."""

    def __len__(self) -> int:
        """No fewer than there are."""
        return self._most

    def search(
        self,
        probes: np.ndarray,
        count: int,
        mask: np.ndarray | None,  # noqa: ARG002 - the filter is in the query
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the best `count` faces of each probe, as similarities and rows of `faces`; -1 where there are none."""
        found = [self._nearest(probe, count) for probe in probes]
        width = max(1, *(len(rows) for _, rows in found))
        similarities, rows = np.full((len(probes), width), -np.inf, np.float32), np.full((len(probes), width), -1)
        for at, (near, where) in enumerate(found):
            similarities[at, : len(near)], rows[at, : len(where)] = near, where
        return similarities, rows

    def exact(self, probes: np.ndarray, rows: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """Refuse; see `rows`."""
        raise RuntimeError("an index in a database does not hold the vectors")

    def _nearest(self, probe: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        key = probe.tobytes()
        if key in self._whole:
            return self._whole[key]
        found = self._ask(probe, count)
        if len(found) < count and not self.exhaustive:
            # A filter left too few of what the index offered, or there are no more: reading all tells which.
            self._connection.execute("SET LOCAL enable_indexscan = off")
            found = self._ask(probe, count)
            self._connection.execute("SET LOCAL enable_indexscan = on")
        table = np.array(found, np.float64).reshape(-1, 3)
        rows = len(self.faces) + np.arange(len(table))
        self.faces = np.concatenate((self.faces, np.array([face for face, _, _ in found], np.int64)))
        self.people = np.concatenate((self.people, np.array([owner for _, owner, _ in found], np.int64)))
        answer = -table[:, 2].astype(np.float32), rows
        if len(found) < count:
            self._whole[key] = answer
        return answer

    def _ask(self, probe: np.ndarray, count: int) -> list[tuple[int, int, float]]:
        text = f"[{','.join(map(repr, probe.tolist()))}]"
        return self._connection.execute(self._query, (text, *self._values, count)).fetchall()
