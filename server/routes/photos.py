"""What is on a photo, without asking the gallery: faces, their quality, and whether two photos show the same person."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query

from vultus.server.access import Seat, allowed
from vultus.server.schemas import Box, Schema, Similarity
from vultus.server.services import Here, Services
from vultus.server.shapes import FoundFace, rounded
from vultus.server.uploads import Photo, Pixels
from vultus.stages.finder import FoundFace as Found
from vultus.stages.quality import Reason, grade_found

router = APIRouter(tags=["photos"], dependencies=[allowed("viewer", "search"), Seat])


class Seen(Schema):
    """A photo, upright, and its faces, the surest first."""

    width: int
    height: int
    faces: list[FoundFace]


class Graded(Schema):
    """How well a face can be recognised; all numbers are 0 to 1, higher is better."""

    box: Box
    quality: float
    magnitude: float | None
    """Length of the embedding, where the model says quality by it."""
    size: float
    sharpness: float
    pose: float
    exposure: float
    score: float
    lacks: Reason | None
    """What keeps it from being better, if anything does; `dark` is too bright as well, `unsure` is hardly a face."""
    enrolable: bool
    """Whether a person could be enrolled by it."""


class Quality(Schema):
    """The faces of a photo, best first."""

    source: Literal["magnitude", "stand-in"]
    """Where quality comes from: the model's embeddings, or the looks of the picture."""
    enrol_quality: float
    """What a face must have for a person to be enrolled by it (`store.enrol_quality`)."""
    faces: list[Graded]


class Pair(Schema):
    """A face of the first photo and one of the second."""

    first: int
    """Its place in `first.faces`, from 0."""
    second: int
    similarity: Similarity
    match: bool
    """Whether they are one person: the similarity reaches the threshold."""


class Comparison(Schema):
    """Two photos and how similar their faces are."""

    threshold: float
    first: Seen
    second: Seen
    pairs: list[Pair]
    """Most similar first."""


@router.post("/detect")
def detect(
    here: Here,
    photo: Photo,
    chips: Annotated[bool, Query(description="Send the aligned face along, as a JPEG file in base64.")] = False,
) -> Seen:
    """Find the faces of a photo: boxes, landmarks, how sure and how good they are.

    Nothing is stored and nobody is looked up. Coordinates are pixels of the upright picture, EXIF's orientation applied.
    """
    return _seen(*_look(here, photo), chips=chips)


@router.post("/quality")
def quality(here: Here, photo: Photo) -> Quality:
    """Tell how well the faces of a photo can be recognised, and what they lack."""
    picture, faces = _look(here, photo)
    least = here.config.store.enrol_quality
    return Quality(
        source="stand-in" if here.faces.model.magnitude is None else "magnitude",
        enrol_quality=least,
        faces=[_graded(picture, face, least) for face in sorted(faces, key=lambda face: -face.quality)],
    )


@router.post("/compare")
def compare(
    here: Here,
    first: Photo,
    second: Photo,
    limit: Annotated[int, Query(ge=1, le=10_000, description="At most so many pairs.")] = 1000,
) -> Comparison:
    """Compare every face of one photo with every face of another: do they show the same people?

    The threshold is the one in use: configured, calibrated or the model's.
    """
    one, other = _look(here, first), _look(here, second)
    return Comparison(
        threshold=here.threshold,
        first=_seen(*one),
        second=_seen(*other),
        pairs=_pairs(one[1], other[1], here.threshold, limit),
    )


def _look(here: Services, photo: Photo) -> tuple[Pixels, list[Found]]:
    picture = here.faces.read(photo.file.read())
    return picture, here.faces.find(picture)


def _seen(picture: Pixels, faces: list[Found], *, chips: bool = False) -> Seen:
    height, width = picture.shape[:2]
    return Seen(width=width, height=height, faces=[FoundFace.of(face, chip=chips) for face in faces])


def _graded(picture: Pixels, face: Found, least: float) -> Graded:
    terms = grade_found(picture, face)
    return Graded(
        box=rounded(face.box),
        quality=round(face.quality, 4),
        magnitude=face.magnitude,
        size=round(terms.size, 4),
        sharpness=round(terms.sharpness, 4),
        pose=round(terms.pose, 4),
        exposure=round(terms.exposure, 4),
        score=round(terms.score, 4),
        lacks=terms.lacks,
        enrolable=face.quality >= least,
    )


def _pairs(one: list[Found], other: list[Found], threshold: float, limit: int) -> list[Pair]:
    if not one or not other:
        return []
    similarities = np.stack([face.vector for face in one]) @ np.stack([face.vector for face in other]).T
    best = np.argsort(-similarities, axis=None, kind="stable")[:limit]
    return [
        Pair(first=row, second=column, similarity=round(similarity, 6), match=similarity >= threshold)
        for row, column in np.stack(np.unravel_index(best, similarities.shape), axis=1).tolist()
        for similarity in [float(similarities[row, column])]
    ]
