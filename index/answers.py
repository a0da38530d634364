"""From ranked faces to what a search answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
from msgspec import Struct

from vultus.index.calibration import Calibration
from vultus.index.loading import OWNER
from vultus.index.people import to_box
from vultus.index.search import Moved, Ranked, Read, reaching
from vultus.index.storage import Connection
from vultus.index.types import Match, NearFace
from vultus.index.vectors import NOBODY, similarities_of

MOST_SPEAKERS = 100
_CHUNK = 4096
"""Faces of a person whose vectors are in memory at a time."""


class Speakers(Struct, frozen=True, kw_only=True):
    """Which faces are to speak for the people of an answer."""

    most: int
    admits: Callable[[np.ndarray], np.ndarray]
    """Tells which of the faces `(n,)` int64 the search looks at, `(n,)` bool."""
    read: Read
    besides: np.ndarray
    """For each probe a face that is not to speak, or `search.NO_FACE`, `(n,)` int64."""


def near_faces(connection: Connection, answers: list[list[Ranked]]) -> list[list[NearFace]]:
    """Describe ranked faces. Raises Moved if one of them was deleted or given to somebody else meanwhile."""
    rows = _rows(connection, (one for answer in answers for one in answer))
    return [[_near(rows, one) for one in answer] for answer in answers]


def matches(
    connection: Connection,
    probes: np.ndarray,
    ranked: list[list[Ranked]],
    k: int,
    threshold: float | None,
    speakers: Speakers,
    calibration: Calibration | None,
) -> list[list[Match]]:
    """Turn what `search.rank` found for the probes into matches, with the faces that spoke for each. Raises Moved."""
    answers = [reaching(answer, k, threshold) for answer in ranked]
    spoke = _spoke(connection, probes, answers, speakers) if speakers.most > 1 else {}
    rows = _rows(connection, chain(*answers, *spoke.values()))
    found: list[list[Match]] = []
    for at, answer in enumerate(answers):
        found.append([])
        probable = _probable(answer, calibration)
        for place, one in enumerate(answer):
            best = _near(rows, one)
            others = spoke.get((at, one))
            found[-1].append(
                Match(
                    identity=best.identity,
                    name=best.name,
                    similarity=best.similarity,
                    source=best.source,
                    face_id=best.face_id,
                    position=best.position,
                    time=best.time,
                    box=best.box,
                    faces=(best,) if others is None else tuple(_near(rows, face) for face in others),
                    hidden=bool(rows[one[0]][12]),
                    margin=_margin(ranked[at], place),
                    probability=probable.get(one[1]),
                )
            )
    return found


def _probable(answer: list[Ranked], calibration: Calibration | None) -> dict[int, float]:
    """Return the probability of each person with a name."""
    named = [one for one in answer if one[1] > NOBODY]
    found = None if calibration is None else calibration.probabilities([one[2] for one in named])
    return {} if found is None else {one[1]: value for one, value in zip(named, found, strict=True)}


def _rows(connection: Connection, ranked: Iterable[Ranked]) -> dict[int, tuple[Any, ...]]:
    """Return what is known of each face, by number."""
    wanted = sorted({face for face, _, _ in ranked})
    query = (
        f"SELECT f.id, f.identity, i.name, f.source, f.position, f.time, f.box_x, f.box_y, f.box_w, f.box_h, f.quality, "  # noqa: S608
        f"f.collection, i.hidden, {OWNER} "
        "FROM json_each(?) w JOIN faces f ON f.id = w.value LEFT JOIN identities i ON i.id = f.identity"
    )
    rows = connection.execute(query, (json.dumps(wanted),))
    return {row[0]: row for row in rows}


def _near(rows: dict[int, tuple[Any, ...]], ranked: Ranked) -> NearFace:
    face, person, similarity = ranked
    row = rows.get(face)
    if row is None or row[13] != person:
        raise Moved
    return NearFace(
        face_id=face,
        identity=row[1],
        name=row[2],
        similarity=similarity,
        source=row[3],
        position=row[4],
        time=row[5],
        box=to_box(*row[6:10]),
        quality=row[10],
        collection=row[11],
    )


def _spoke(
    connection: Connection, probes: np.ndarray, answers: list[list[Ranked]], speakers: Speakers
) -> dict[tuple[int, Ranked], list[Ranked]]:
    """Return for each match of a person, by probe and match, the person's best faces, from the database."""
    asked: dict[int, list[tuple[int, Ranked]]] = {}
    for at, answer in enumerate(answers):
        for one in answer:
            if one[1] != NOBODY:
                asked.setdefault(one[1], []).append((at, one))
    faces: dict[int, list[int]] = {}
    for person, face in connection.execute(
        "SELECT f.identity, f.id FROM json_each(?) w JOIN faces f ON f.identity = w.value ORDER BY f.id",
        (json.dumps([abs(person) for person in asked]),),
    ):
        faces.setdefault(person, []).append(face)
    spoke: dict[tuple[int, Ranked], list[Ranked]] = {}
    for person, wanting in asked.items():
        numbers = np.array(faces.get(abs(person), ()), np.int64)
        numbers = numbers[speakers.admits(numbers)]
        similarities = _similarities(probes[[at for at, _ in wanting]], numbers, speakers.read)
        for key, row in zip(wanting, similarities, strict=True):
            others = np.flatnonzero(numbers != speakers.besides[key[0]])
            best = others[np.lexsort((numbers[others], -row[others]))[: speakers.most]]
            spoke[key] = [(int(numbers[at]), person, float(row[at])) for at in best]
    return spoke


def _similarities(probes: np.ndarray, faces: np.ndarray, read: Read) -> np.ndarray:
    """Return the similarity of each probe to each face, `(n, m)` float32."""
    parts = [np.empty((len(probes), 0), np.float32)]
    for start in range(0, len(faces), _CHUNK):
        vectors = read(faces[start : start + _CHUNK].tolist())
        parts.append(similarities_of(probes, np.broadcast_to(vectors, (len(probes), *vectors.shape))))
    return np.concatenate(parts, axis=1)


def _margin(ranked: list[Ranked], place: int) -> float | None:
    """How far the match at `place` stands above the next person."""
    for _, person, similarity in ranked[place + 1 :]:
        if person != NOBODY:
            return ranked[place][2] - similarity
    return None
