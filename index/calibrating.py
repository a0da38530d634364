"""Calibrating a gallery: taking the scores, keeping what follows from them, and naming the people who are mixed up."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from msgspec import Struct

from vultus.index import calibration, journal
from vultus.index.calibration import Calibration, Policy, kept
from vultus.index.denials import Denials
from vultus.index.denials import load as load_denials
from vultus.index.loading import bound_to, vectors_there
from vultus.index.search import Ranked
from vultus.index.searching import Searcher
from vultus.index.storage import Storage
from vultus.index.types import Confusable

_MOST_FACES = 5000
"""Faces whose scores are taken, at most."""
_MOST_OF_EACH = 10
"""Of one person, so that somebody with thousands of faces does not stand for all."""
_COMPARED = 64
"""Further faces of a person that a face is compared with."""
_NEIGHBOURS = 8
"""People near a face who are looked at for confusions."""
_BATCH = 64

Progress = Callable[[int, int], None]
"""Told how many faces are done, of how many; what it raises ends the work."""


class _Named(Struct, frozen=True, eq=False):
    """The faces of people who have a name and are not hidden."""

    faces: np.ndarray
    people: np.ndarray
    sources: list[str]


class Calibrating:
    """The calibration of a gallery, `Gallery.calibration`."""

    def __init__(self, storage: Storage, searcher: Searcher) -> None:
        self._storage = storage
        self._searcher = searcher

    def current(self) -> Calibration | None:
        """Return what was kept last; none if nothing was."""
        with self._storage.read() as connection:
            return kept(connection)

    def keep(self, found: Calibration) -> None:
        """Keep a calibration, for every process that uses the gallery."""
        with self._storage.write() as connection:
            connection.execute(
                "INSERT INTO calibration (one, at, result) VALUES (1, ?, ?) "
                "ON CONFLICT (one) DO UPDATE SET at = excluded.at, result = excluded.result",
                (found.at, msgspec.json.encode(found).decode()),
            )
            journal.append(connection, self._storage.writer, "calibrated", 0, 0, 0)

    def forget(self) -> None:
        """Keep none; the model's threshold holds again, or the configured one."""
        with self._storage.write() as connection:
            connection.execute("DELETE FROM calibration")
            journal.append(connection, self._storage.writer, "calibrated", 0, 0, 0)

    def stale(self) -> str | None:
        """Say why the kept calibration does not fit the gallery any more; none if it does or there is none."""
        with self._storage.read() as connection:
            found = kept(connection)
            (now,) = connection.execute(
                "SELECT count(*) FROM identities WHERE name IS NOT NULL AND hidden = 0"
            ).fetchone()
        if found is None or found.threshold is None:
            return None
        if found.identities < now * calibration.GROWTH and now < found.identities * calibration.GROWTH:
            return None
        rate = found.fpir(found.threshold, now)
        return (
            f"the gallery had {found.identities} people with names when it was calibrated and has {now} now: strangers are "
            f"taken for somebody at a rate of about {rate:.2g}, not {found.policy.rate:.2g}"
        )

    def measure(self, policy: Policy, progress: Progress = lambda _done, _all: None) -> Calibration:
        """Compare up to 5000 faces of people with names to all others; return what follows, without keeping it.

        A face's impostor score is its similarity to the nearest other person; its genuine score is that to the nearest
        face of the same person from another source (files are told apart by their paths: the views of one video say
        nothing about another day). The same gallery gives the same answer.
        """
        named = self._named()
        probes = _sample(named.people)
        scores, owners, confirmed = [], [], []
        with self._storage.read() as connection:
            denied = load_denials(connection)
        for done, (at, others) in enumerate(self._others(named, probes, 1), start=1):
            person = int(named.people[at])
            if others:
                face, other, similarity = others[0]
                scores.append(similarity)
                owners.append(person)
                confirmed.append(_apart(denied, (int(named.faces[at]), person), (face, other)))
            progress(done, len(probes))
        return calibration.calibrated(
            policy,
            time.time(),
            (len(np.unique(named.people)), len(named.faces)),
            (np.array(scores, np.float64), np.array(owners, np.int64)),
            self._genuine(named, probes),
            np.array(confirmed, bool),
        )

    def confusable(self, threshold: float, progress: Progress = lambda _done, _all: None) -> list[Confusable]:
        """Return the pairs of people with names of whom a face of one is as near to the other as `threshold`, nearest first.

        Up to 5000 faces are compared, at most ten of a person. What `Gallery.deny` was told is left out.
        """
        named = self._named()
        probes = _sample(named.people)
        with self._storage.read() as connection:
            denied = load_denials(connection)
        best: dict[tuple[int, int], tuple[float, int, int]] = {}
        looked, near = Counter[int](), Counter[tuple[int, int]]()
        for done, (at, others) in enumerate(self._others(named, probes, _NEIGHBOURS), start=1):
            mine, person = int(named.faces[at]), int(named.people[at])
            looked[person] += 1
            for face, other, similarity in others:
                if similarity < threshold or _apart(denied, (mine, person), (face, other)):
                    continue
                near[person, other] += 1
                pair, faces = (person, other), (mine, face)
                if other < person:
                    pair, faces = (other, person), (face, mine)
                if pair not in best or similarity > best[pair][0]:
                    best[pair] = (similarity, *faces)
            progress(done, len(probes))
        return self._described(best, looked, near)

    def _named(self) -> _Named:
        with self._storage.read() as connection:
            rows = connection.execute(
                "SELECT f.id, f.identity, f.source FROM faces f JOIN identities i ON i.id = f.identity "
                "WHERE i.name IS NOT NULL AND i.hidden = 0 AND f.id NOT IN (SELECT face FROM lacking) ORDER BY f.id"
            ).fetchall()
        faces = np.array([row[0] for row in rows], np.int64)
        return _Named(faces, np.array([row[1] for row in rows], np.int64), [row[2] for row in rows])

    def _others(self, named: _Named, probes: np.ndarray, count: int) -> Iterator[tuple[int, list[Ranked]]]:
        """Yield for each probe, a place among the named faces, the nearest other people, up to `count`."""
        for start in range(0, len(probes), _BATCH):
            part = probes[start : start + _BATCH]
            rows = self._vectors(named.faces[part])
            for at, ranked in zip(part.tolist(), self._searcher.named_people(rows, count + 1), strict=True):
                others = [one for one in ranked if one[1] != named.people[at]]
                yield at, others[:count]

    def _genuine(self, named: _Named, probes: np.ndarray) -> np.ndarray:
        """Return the similarity of each probe to the nearest picture of the same person from another source."""
        order = np.argsort(named.people, kind="stable")
        starts = np.searchsorted(named.people[order], np.unique(named.people))
        places = {int(named.people[group[0]]): group for group in np.split(order, starts[1:]) if len(group)}
        asked: dict[int, list[int]] = {}
        for at in probes.tolist():
            asked.setdefault(int(named.people[at]), []).append(at)
        scores = []
        for person, mine in asked.items():
            group = places[person]
            if len(group) < 2:
                continue
            step = -(-len(group) // _COMPARED)
            others = group[::step].tolist()
            vectors = self._vectors(named.faces[[*mine, *others]])
            similarities = vectors[: len(mine)] @ vectors[len(mine) :].T
            for row, at in zip(similarities, mine, strict=True):
                source = named.sources[at]
                other = [
                    float(similarity)
                    for similarity, place in zip(row, others, strict=True)
                    if place != at and not (source and named.sources[place] == source)
                ]
                if other:
                    scores.append(max(other))
        return np.array(scores, np.float64)

    def _vectors(self, faces: np.ndarray) -> np.ndarray:
        """Return the vectors of faces in this order; of those that have been deleted, zeros."""
        with self._storage.read() as connection:
            dim = bound_to(connection)[2] or 1
            there, vectors = vectors_there(connection, dim, sorted(set(faces.tolist())))
        table = np.zeros((len(faces), dim), np.float32)
        known = np.isin(faces, there)
        table[known] = vectors[np.searchsorted(there, faces[known])]
        return table

    def _described(
        self,
        best: dict[tuple[int, int], tuple[float, int, int]],
        looked: Counter[int],
        near: Counter[tuple[int, int]],
    ) -> list[Confusable]:
        with self._storage.read() as connection:
            names = dict(connection.execute("SELECT id, name FROM identities WHERE name IS NOT NULL").fetchall())
            listed = json.dumps(sorted({face for _, one, other in best.values() for face in (one, other)}))
            sources = dict(connection.execute(_SOURCES, (listed,)).fetchall())
        found = []
        for (person, other), (similarity, face, other_face) in sorted(best.items(), key=lambda item: -item[1][0]):
            if person in names and other in names and face in sources and other_face in sources:
                shares = [near[person, other] / max(looked[person], 1), near[other, person] / max(looked[other], 1)]
                found.append(
                    Confusable(
                        identity=person,
                        name=names[person],
                        face=face,
                        source=sources[face],
                        other=other,
                        other_name=names[other],
                        other_face=other_face,
                        other_source=sources[other_face],
                        similarity=similarity,
                        shares=(shares[0], shares[1]),
                    )
                )
        return found


_SOURCES = "SELECT id, source FROM faces WHERE id IN (SELECT value FROM json_each(?))"


def _sample(people: np.ndarray) -> np.ndarray:
    """Return the places of up to 5000 faces, at most ten of a person, ascending."""
    order = np.random.default_rng(0).permutation(len(people))
    shuffled = people[order]
    by_person = np.argsort(shuffled, kind="stable")
    _, starts, counts = np.unique(shuffled[by_person], return_index=True, return_counts=True)
    rank = np.empty(len(people), np.int64)
    rank[by_person] = np.arange(len(people)) - np.repeat(starts, counts)
    return np.sort(order[rank < _MOST_OF_EACH][:_MOST_FACES])


def _apart(denied: Denials, one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a user said that a face and its person are not another person with a face; each is (face, person)."""
    return (
        other[1] in denied.others.get(one[1], ())
        or one[0] in denied.faces.get(other[1], ())
        or other[0] in denied.faces.get(one[1], ())
    )
