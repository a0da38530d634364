"""A search from the call to the answer, against whatever else happens to the gallery meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import ArrayLike

from vultus.index import answers, search
from vultus.index.combining import Combiner
from vultus.index.contract import Backend, Look
from vultus.index.denials import Denials
from vultus.index.embedding import normalised
from vultus.index.loading import bound_to, vectors_there
from vultus.index.search import Ranked, Wanted
from vultus.index.storage import Connection
from vultus.index.types import Match, NearFace, Where

_TOGETHER = 64
"""Probes of several callers that are searched for together."""
_MOST_COMBINED = 16
"""Who asks for more at once is not made to wait for others, nor they for that one."""
_MANY = 1 << 30

_Item = TypeVar("_Item")


class _Probes(Struct, frozen=True, eq=False):
    """What is looked for."""

    vectors: np.ndarray
    """`(n, dim)` float32 of length 1."""
    besides: np.ndarray
    """For each the face that it is itself, or `search.NO_FACE`, `(n,)` int64."""

    def __len__(self) -> int:
        return len(self.vectors)


_Describe = Callable[[Connection, _Probes, list[list[Ranked]], Look], list[list[_Item]]]
"""Makes of probes and what was found for each what is answered."""


class Searcher:
    """Searches in the index of a gallery; may be used from several threads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        at_once = len(os.sched_getaffinity(0)) if backend.searches_here else _MANY
        self._combiner = Combiner[_Probes, list[list[Any]]](at_once, _TOGETHER)

    def people(
        self,
        vectors: ArrayLike,
        k: int,
        threshold: float | None,
        where: Where | None,
        faces: int,
        besides: Sequence[int] | None = None,
    ) -> list[list[Match]]:
        """See `Gallery.search` and `Gallery.search_by_faces`; `besides`: the face that each probe is itself."""
        if not 1 <= faces <= answers.MOST_SPEAKERS:
            raise ValueError(f"faces is how many may speak for a person, 1 to {answers.MOST_SPEAKERS}, not {faces}")

        def answer(
            connection: Connection, probes: _Probes, ranked: list[list[Ranked]], look: Look
        ) -> list[list[Match]]:
            speakers = answers.Speakers(
                most=faces, admits=look.admits, read=search.reader(connection), besides=probes.besides
            )
            return answers.matches(connection, probes.vectors, ranked, k, threshold, speakers, look.calibration)

        probes, wanted = _probes(vectors, k, besides), Wanted(k=k, threshold=threshold)
        return self._combined((k, threshold, where, faces), probes, wanted, where, answer)

    def stored(self, faces: Sequence[int]) -> dict[int, np.ndarray]:
        """Return the vectors, `(dim,)` float32, of those of `faces` that are there and have one. Raises GalleryCorrupt."""
        with self._backend.storage.read() as connection:
            return dict(zip(*vectors_there(connection, bound_to(connection)[2] or 1, sorted(set(faces))), strict=True))

    def faces(self, vectors: ArrayLike, k: int, threshold: float | None, where: Where | None) -> list[list[NearFace]]:
        """See `Gallery.search_faces`."""

        def answer(
            connection: Connection, _probes: _Probes, ranked: list[list[Ranked]], _look: Look
        ) -> list[list[NearFace]]:
            return answers.near_faces(connection, [search.reaching(one, k, threshold) for one in ranked])

        wanted = Wanted(k=k, threshold=threshold, grouped=False)
        return self._combined((k, threshold, where), _probes(vectors, k), wanted, where, answer)

    def named_people(self, vectors: np.ndarray, k: int) -> list[list[Ranked]]:
        """Return for each vector, of length 1, the `k` nearest people with names, whatever is denied of them."""

        def answer(
            _connection: Connection, _probes: _Probes, ranked: list[list[Ranked]], _look: Look
        ) -> list[list[Ranked]]:
            return [search.reaching(one, k, None) for one in ranked]

        probes = _Probes(vectors, np.full(len(vectors), search.NO_FACE))
        return self._ranked(probes, Wanted(k=k), Where(labelled=True), answer, denials=Denials())

    def _combined(
        self, key: Hashable, probes: _Probes, wanted: Wanted, where: Where | None, answer: _Describe[_Item]
    ) -> list[list[_Item]]:
        """Return the answers of `_ranked`, found together with those of others who ask for the same at the same time."""

        def found(several: list[_Probes]) -> list[list[list[_Item]]]:
            every = self._ranked(_joined(several), wanted, where, answer)
            ends = accumulate(map(len, several))
            return [every[end - len(mine) : end] for mine, end in zip(several, ends, strict=True)]

        if len(probes) > _MOST_COMBINED:  # a long search is not to keep others waiting
            return found([probes])[0]
        return self._combiner.ask((key, probes.vectors.shape[1]), probes, found)

    def _ranked(
        self,
        probes: _Probes,
        wanted: Wanted,
        where: Where | None,
        answer: _Describe[_Item],
        denials: Denials | None = None,
    ) -> list[list[_Item]]:
        with self._backend.storage.read() as connection:

            def attempt() -> list[list[_Item]]:
                with self._backend.looking(connection, where) as look:
                    asked = replace(
                        wanted,
                        mask=look.mask,
                        denials=look.denials if denials is None else denials,
                        left_out=look.left_out,
                        besides=probes.besides,
                    )
                    ranked = search.rank(look.index, probes.vectors, asked, search.reader(connection))
                return answer(connection, probes, ranked, look)

            return search.retried(attempt, self._backend.storage.place)


def _probes(vectors: ArrayLike, k: int, besides: Sequence[int] | None = None) -> _Probes:
    if k < 1:
        raise ValueError(f"k is how many matches to return, at least 1, not {k}")
    rows = normalised(vectors, None, "probes")
    return _Probes(rows, np.full(len(rows), search.NO_FACE) if besides is None else np.array(besides, np.int64))


def _joined(several: list[_Probes]) -> _Probes:
    if len(several) == 1:
        return several[0]
    vectors, besides = zip(*((one.vectors, one.besides) for one in several), strict=True)
    return _Probes(np.concatenate(vectors), np.concatenate(besides))
