"""A search from the call to the answer, against whatever else happens to the gallery meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from vultus.index import answers, search
from vultus.index.embedding import normalised
from vultus.index.errors import GalleryBusy
from vultus.index.filters import admits
from vultus.index.live import LiveIndex
from vultus.index.search import Ranked, Wanted
from vultus.index.storage import Connection
from vultus.index.store import Store
from vultus.index.types import Match, NearFace, Where

_ATTEMPTS = 16

_Answer = TypeVar("_Answer")


class Searcher:
    """Searches in the index of a gallery; may be used from several threads."""

    def __init__(self, store: Store, live: LiveIndex) -> None:
        self._store = store
        self._live = live

    def people(
        self, vectors: ArrayLike, k: int, threshold: float | None, where: Where | None, faces: int
    ) -> list[list[Match]]:
        """See `Gallery.search`."""
        if not 1 <= faces <= answers.MOST_SPEAKERS:
            raise ValueError(f"faces is how many may speak for a person, 1 to {answers.MOST_SPEAKERS}, not {faces}")
        probes = _probes(vectors, k)

        def answer(
            connection: Connection, ranked: list[list[Ranked]], admitted: np.ndarray | None
        ) -> list[list[Match]]:
            speakers = answers.Speakers(most=faces, admits=partial(admits, admitted), read=search.reader(connection))
            return answers.matches(connection, probes, ranked, k, threshold, speakers)

        return self._ranked(probes, Wanted(k=k, threshold=threshold), where, answer)

    def faces(self, vectors: ArrayLike, k: int, threshold: float | None, where: Where | None) -> list[list[NearFace]]:
        """See `Gallery.search_faces`."""

        def answer(
            connection: Connection, ranked: list[list[Ranked]], _admitted: np.ndarray | None
        ) -> list[list[NearFace]]:
            return answers.near_faces(connection, [search.reaching(one, k, threshold) for one in ranked])

        return self._ranked(_probes(vectors, k), Wanted(k=k, threshold=threshold, grouped=False), where, answer)

    def _ranked(
        self,
        probes: np.ndarray,
        wanted: Wanted,
        where: Where | None,
        answer: Callable[[Connection, list[list[Ranked]], np.ndarray | None], _Answer],
    ) -> _Answer:
        with self._store.read() as connection:
            for _ in range(_ATTEMPTS):
                self._live.catch_up(connection)
                filters = self._live.filters
                resolved = filters.resolve(connection, where)
                admitted = filters.admitted(connection, resolved)
                with contextlib.suppress(search.Moved):
                    with self._live.reading() as index:
                        asked = Wanted(
                            k=wanted.k,
                            threshold=wanted.threshold,
                            grouped=wanted.grouped,
                            mask=filters.mask(index, self._live.point, resolved, admitted),
                            denials=self._live.denials,
                            left_out=index.hidden if where is None or where.hidden is False else frozenset(),
                        )
                        ranked = search.rank(index, probes, asked, search.reader(connection))
                    return answer(connection, ranked, admitted)
        raise GalleryBusy(
            f"people of {self._store.folder} were deleted or merged {_ATTEMPTS} times while a search ran; try again"
        )


def _probes(vectors: ArrayLike, k: int) -> np.ndarray:
    if k < 1:
        raise ValueError(f"k is how many matches to return, at least 1, not {k}")
    return normalised(vectors, None, "probes")
