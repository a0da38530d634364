"""A search from the call to the answer, against whatever else happens to the gallery meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import ArrayLike

from vultus.index import answers, search
from vultus.index.contract import Backend, Look
from vultus.index.denials import Denials
from vultus.index.embedding import normalised
from vultus.index.search import Ranked, Wanted
from vultus.index.storage import Connection
from vultus.index.types import Match, NearFace, Where

_Answer = TypeVar("_Answer")


class Searcher:
    """Searches in the index of a gallery; may be used from several threads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def people(
        self,
        vectors: ArrayLike,
        k: int,
        threshold: float | None,
        where: Where | None,
        faces: int,
        besides: int | None = None,
    ) -> list[list[Match]]:
        """See `Gallery.search` and `Gallery.search_face`."""
        if not 1 <= faces <= answers.MOST_SPEAKERS:
            raise ValueError(f"faces is how many may speak for a person, 1 to {answers.MOST_SPEAKERS}, not {faces}")
        probes = _probes(vectors, k)

        def answer(connection: Connection, ranked: list[list[Ranked]], look: Look) -> list[list[Match]]:
            speakers = answers.Speakers(most=faces, admits=look.admits, read=search.reader(connection), besides=besides)
            return answers.matches(connection, probes, ranked, k, threshold, speakers, look.calibration)

        return self._ranked(probes, Wanted(k=k, threshold=threshold, besides=besides), where, answer)

    def faces(self, vectors: ArrayLike, k: int, threshold: float | None, where: Where | None) -> list[list[NearFace]]:
        """See `Gallery.search_faces`."""

        def answer(connection: Connection, ranked: list[list[Ranked]], _look: Look) -> list[list[NearFace]]:
            return answers.near_faces(connection, [search.reaching(one, k, threshold) for one in ranked])

        return self._ranked(_probes(vectors, k), Wanted(k=k, threshold=threshold, grouped=False), where, answer)

    def named_people(self, vectors: np.ndarray, k: int) -> list[list[Ranked]]:
        """Return for each vector, of length 1, the `k` nearest people with names, whatever is denied of them."""

        def answer(_connection: Connection, ranked: list[list[Ranked]], _look: Look) -> list[list[Ranked]]:
            return [search.reaching(one, k, None) for one in ranked]

        return self._ranked(vectors, Wanted(k=k), Where(labelled=True), answer, denials=Denials())

    def _ranked(
        self,
        probes: np.ndarray,
        wanted: Wanted,
        where: Where | None,
        answer: Callable[[Connection, list[list[Ranked]], Look], _Answer],
        denials: Denials | None = None,
    ) -> _Answer:
        with self._backend.storage.read() as connection:

            def attempt() -> _Answer:
                with self._backend.looking(connection, where) as look:
                    asked = replace(
                        wanted,
                        mask=look.mask,
                        denials=look.denials if denials is None else denials,
                        left_out=look.left_out,
                    )
                    ranked = search.rank(look.index, probes, asked, search.reader(connection))
                return answer(connection, ranked, look)

            return search.retried(attempt, self._backend.storage.place)


def _probes(vectors: ArrayLike, k: int) -> np.ndarray:
    if k < 1:
        raise ValueError(f"k is how many matches to return, at least 1, not {k}")
    return normalised(vectors, None, "probes")
