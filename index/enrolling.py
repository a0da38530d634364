"""From a sighting to faces of a person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import structs
from numpy.typing import ArrayLike

from vultus.index import denials, intake, owners, people, sightings
from vultus.index.binding import bind_dim
from vultus.index.errors import Denied, UnknownSighting
from vultus.index.loading import bound_to
from vultus.index.names import clean_name
from vultus.index.storage import Connection, Storage
from vultus.index.types import Enrolled, FaceRecord, Shot, Sighting


def enrol(storage: Storage, number: int, person: int | str, vectors: Mapping[int, ArrayLike]) -> Enrolled:
    """See `Gallery.enrol_sighting`."""
    with storage.write() as connection:
        seen = sightings.found(connection, number)
        shots = {shot.id: shot for shot in sightings.shots(connection, number)}
        strange = sorted(vectors.keys() - shots.keys())
        if strange:
            raise UnknownSighting(f"picture {strange[0]} is not one of sighting {number}; it has {sorted(shots)}")
        if isinstance(person, str):
            name = clean_name(person)
            made = people.named(connection, name) is None
            who = people.ensure(connection, [name])[name]
        else:
            made, who = False, people.find(connection, person)[0]
        there = _faces(connection, seen, who, [shot.time for shot in shots.values()])
        times = {time for time, _ in there.values()}
        fresh = [shot for shot in shots.values() if shot.id in vectors and shot.time not in times]
        added: list[int] = []
        if fresh:
            rows, records = intake.checked(
                np.stack([np.asarray(vectors[shot.id]) for shot in fresh]),
                [_record(seen, shot) for shot in fresh],
                bound_to(connection)[2],
            )
            bind_dim(connection, rows)
            added = people.add_faces(connection, storage.writer, rows, records, [None] * len(rows))
        faces = sorted([*there, *added])
        if not faces:
            raise ValueError(
                f"the gallery keeps no vector of sighting {number}: make one of a picture (`Gallery.shots`), and give that"
            )
        owners.move(connection, storage.writer, faces, who, seen={number: seen.identity}, made=made)
        called = people.identity(connection, who).name
    return Enrolled(identity=who, name=called, faces=tuple(faces), added=len(added))


def deny(storage: Storage, number: int, vectors: Mapping[int, ArrayLike]) -> int:
    """See `Gallery.deny_sighting`."""
    with storage.write() as connection:
        seen = sightings.found(connection, number)
        if seen.identity is None:
            raise Denied(f"sighting {number} is of nobody")
        shots = {shot.id: shot for shot in sightings.shots(connection, number)}
        chosen = [shots[shot] for shot in vectors if shot in shots]  # one that is gone meanwhile is no example
        if chosen:
            rows, records = intake.checked(
                np.stack([np.asarray(vectors[shot.id]) for shot in chosen]),
                [FaceRecord(source=seen.source, time=one.time, quality=one.quality, chip=one.jpeg) for one in chosen],
                bound_to(connection)[2],
            )
            bind_dim(connection, rows)
            for face in people.add_faces(connection, storage.writer, rows, records, [None] * len(rows)):
                denials.deny(connection, storage.writer, seen.identity, face, None)
        nobody = structs.replace(seen, identity=None, name=None, similarity=None, id=0)
        return sightings.add(connection, nobody, list(shots.values()))


def _faces(connection: Connection, seen: Sighting, who: int, times: list[float]) -> dict[int, tuple[float, int | None]]:
    """Return the stored faces of the same looks, of the sighting's person or already of `who`, with times and owners."""
    moments = [seen.time, *times]
    rows = connection.execute(
        "SELECT id, time, identity FROM faces WHERE source = ?1 AND time BETWEEN ?2 AND ?3 AND track = ?4 "
        "AND (identity IS NOT DISTINCT FROM ?5 OR identity = ?6)",
        (seen.source, min(moments), max(moments), seen.track, seen.identity, who),
    )
    return {face: (time, owner) for face, time, owner in rows}


def _record(seen: Sighting, shot: Shot) -> FaceRecord:
    return FaceRecord(
        source=seen.source,
        position=shot.position,
        time=shot.time,
        box=seen.box if shot.time == seen.time else None,
        quality=shot.quality,
        track=seen.track,
        chip=shot.jpeg,
    )
