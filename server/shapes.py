"""What the API tells of people, faces, matches and sightings: one shape for each, wherever it appears.

Fields are called as in what `vultus ... --json` prints.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Self, overload

from vultus import index
from vultus.index import types
from vultus.server.schemas import Box, Landmarks, Listing, Schema, Similarity, moment
from vultus.stages.chip import chip_jpeg
from vultus.stages.finder import FoundFace as Found


class Person(Schema):
    """Somebody whom the gallery knows, by name or as somebody who was seen."""

    identity: int
    """The person's number."""
    name: str | None
    """None: an unknown person."""
    faces: int
    """How many are stored."""
    created: datetime
    hidden: bool
    """Whether searches and lists leave the person out."""
    best_face: int | None
    """The face of the best quality."""
    last_seen: datetime | None
    """Time of the last sighting."""

    @classmethod
    def of(cls, one: index.Person) -> Self:
        """Of the gallery's."""
        return cls(
            identity=one.id,
            name=one.name,
            faces=one.faces,
            created=moment(one.created),
            hidden=one.hidden,
            best_face=one.best_face,
            last_seen=moment(one.last_seen),
        )


class Unknown(Schema):
    """A person without a name, made of faces that are alike."""

    identity: int
    faces: int
    sightings: int
    first: datetime
    last: datetime
    """When this person was seen first and last; of photos without a time, when they were stored."""
    best_face: int | None
    """The face of the best quality."""
    sources: list[str]
    """Photos, videos and cameras with most faces, up to five."""
    hidden: bool
    """Whether the person is ignored."""
    created: datetime

    @classmethod
    def of(cls, one: index.Unknown) -> Self:
        """Of the gallery's."""
        return cls(
            identity=one.id,
            faces=one.faces,
            sightings=one.sightings,
            first=moment(one.first),
            last=moment(one.last),
            best_face=one.best_face,
            sources=list(one.sources),
            hidden=one.hidden,
            created=moment(one.created),
        )


class Face(Schema):
    """A face that the gallery holds. Its picture is `/faces/{face_id}/chip`."""

    face_id: int
    identity: int | None
    """Whose it is; none: nobody's."""
    name: str | None
    source: str
    """Photo, video or camera it was seen in."""
    position: float | None
    """Seconds from the start of a video."""
    time: datetime | None
    box: Box | None
    landmarks: Landmarks | None
    score: float | None
    """How sure the detector was, 0 to 1."""
    quality: float | None
    """How well it can be recognised, 0 to 1."""
    track: int | None
    collection: str | None
    created: datetime
    """When it was stored."""

    @classmethod
    def of(cls, one: index.StoredFace) -> Self:
        """Of the gallery's."""
        return cls(
            face_id=one.id,
            identity=one.identity,
            name=one.name,
            source=one.source,
            position=one.position,
            time=moment(one.time),
            box=rounded(one.box),
            landmarks=one.landmarks,
            score=one.score,
            quality=one.quality,
            track=one.track,
            collection=one.collection,
            created=moment(one.created),
        )


class FoundFace(Schema):
    """A face of an uploaded photo."""

    box: Box
    landmarks: Landmarks
    score: float
    """How sure the detector was, 0 to 1."""
    quality: float
    """How well it can be recognised, 0 to 1."""
    chip: str | None = None
    """The aligned face as a JPEG file of 112x112 pixels in base64, if asked for."""

    @classmethod
    def of(cls, one: Found, *, chip: bool = False) -> Self:
        """Of the finder's."""
        return cls(**found(one, chip=chip))


def found(one: Found, *, chip: bool = False) -> dict[str, Any]:
    """The fields of a `FoundFace`, for shapes with more of them."""
    return {
        "box": rounded(one.box),
        "landmarks": tuple((round(x, 2), round(y, 2)) for x, y in one.landmarks),
        "score": round(one.score, 4),
        "quality": round(one.quality, 4),
        "chip": base64.b64encode(chip_jpeg(one.chip)).decode() if chip else None,
    }


class Near(Schema):
    """A stored face that is near to the one that was asked for."""

    face_id: int
    identity: int | None
    name: str | None
    similarity: Similarity
    source: str
    position: float | None
    time: datetime | None
    box: Box | None
    quality: float | None
    collection: str | None

    @classmethod
    def of(cls, one: index.NearFace) -> Self:
        """Of the gallery's."""
        return cls(
            face_id=one.face_id,
            identity=one.identity,
            name=one.name,
            similarity=round(one.similarity, 6),
            source=one.source,
            position=one.position,
            time=moment(one.time),
            box=rounded(one.box),
            quality=one.quality,
            collection=one.collection,
        )


class Match(Schema):
    """Somebody whom a face resembles: a person, by the nearest of the person's faces, or a face that is nobody's."""

    identity: int | None
    """None: a face that belongs to nobody."""
    name: str | None
    """None: an unknown person, or nobody."""
    hidden: bool
    similarity: Similarity
    """Cosine of the two embeddings."""
    margin: float | None
    """Similarity minus that of the next person."""
    probability: float | None
    """That it is this person; none while the gallery has no calibration."""
    match: bool
    """Whether this is somebody, and the similarity reaches the threshold."""
    face_id: int
    """The stored face that is nearest; `source`, `position`, `time` and `box` are its."""
    source: str
    position: float | None
    time: datetime | None
    box: Box | None
    faces: list[Near]
    """The faces that speak for the person, best first: as many as were asked for."""

    @classmethod
    def of(cls, one: index.Match, threshold: float) -> Self:
        """Of the gallery's."""
        return cls(
            identity=one.identity,
            name=one.name,
            hidden=one.hidden,
            similarity=round(one.similarity, 6),
            margin=None if one.margin is None else round(one.margin, 6),
            probability=None if one.probability is None else round(one.probability, 6),
            match=one.identity is not None and one.similarity >= threshold,
            face_id=one.face_id,
            source=one.source,
            position=one.position,
            time=moment(one.time),
            box=rounded(one.box),
            faces=[Near.of(face) for face in one.faces],
        )

    @classmethod
    def of_face(cls, one: index.NearFace, threshold: float) -> Self:
        """Of a single face that is near, whose ever it is."""
        near = Near.of(one)
        return cls(
            **{field: getattr(near, field) for field in cls.model_fields.keys() & Near.model_fields.keys()},
            hidden=False,
            margin=None,
            probability=None,
            match=one.identity is not None and one.similarity >= threshold,
            faces=[near],
        )


class Sighting(Schema):
    """Somebody was seen by a camera or in a video."""

    number: int
    """Rises with every sighting, and with every correction of one, which is in place of the former."""
    run: str
    source: str
    track: int
    time: datetime
    position: float | None
    """Seconds from the start of a video."""
    identity: int | None
    name: str | None
    hidden: bool
    similarity: float | None
    quality: float | None
    box: Box | None
    shot: int | None
    """The clearest picture, if one is kept: `/sightings/{number}/shots/{shot}`."""

    @classmethod
    def of(cls, one: index.Sighting) -> Self:
        """Of the gallery's."""
        return cls(
            number=one.id,
            run=one.run,
            source=one.source,
            track=one.track,
            time=moment(one.time),
            position=one.position,
            identity=one.identity,
            name=one.name,
            hidden=one.hidden,
            similarity=one.similarity,
            quality=one.quality,
            box=rounded(one.box),
            shot=one.shot,
        )


class Faces(Listing[Face]):
    """A page of faces."""


@overload
def rounded(box: types.Box) -> Box: ...
@overload
def rounded(box: None) -> None: ...
def rounded(box: types.Box | None) -> Box | None:
    """A box to hundredths of a pixel."""
    if box is None:
        return None
    x, y, width, height = box
    return round(x, 2), round(y, 2), round(width, 2), round(height, 2)
