"""Who is on a photo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from vultus.index.types import Match
from vultus.server.access import Seat, allowed
from vultus.server.schemas import Box, Schema, Similarity
from vultus.server.services import Here
from vultus.server.uploads import Photo
from vultus.stages.finder import FoundFace

router = APIRouter(prefix="/search", tags=["search"], dependencies=[allowed("viewer", "search")])


class Candidate(Schema):
    """A person whom a face resembles."""

    identity: int | None
    """None: a face that belongs to nobody."""
    name: str | None
    """None: an unknown person."""
    similarity: Similarity
    margin: float | None
    probability: float | None
    match: bool
    """Whether the similarity reaches the threshold."""
    face: int
    """The stored face that spoke for the person."""
    source: str


class FaceAnswer(Schema):
    """A face of the photo and whom it resembles, best first."""

    box: Box
    score: float
    quality: float
    candidates: list[Candidate]


class SearchAnswer(Schema):
    """Every face of the photo."""

    threshold: float
    faces: list[FaceAnswer]


@router.post("", dependencies=[Seat])
def search(here: Here, photo: Photo, k: Annotated[int, Query(ge=1, le=100)] = 5) -> SearchAnswer:
    """For every face of a photo the `k` most similar people, grouped by person."""
    found = here.faces.find(here.faces.read(photo.file.read()))
    answers = here.gallery.search([face.vector for face in found], k) if found else []
    threshold = here.threshold
    return SearchAnswer(
        threshold=threshold,
        faces=[_face(face, matches, threshold) for face, matches in zip(found, answers, strict=True)],
    )


def _face(face: FoundFace, matches: list[Match], threshold: float) -> FaceAnswer:
    return FaceAnswer(
        box=face.box,
        score=face.score,
        quality=face.quality,
        candidates=[
            Candidate(
                identity=match.identity,
                name=match.name,
                similarity=match.similarity,
                margin=match.margin,
                probability=match.probability,
                match=match.identity is not None and match.similarity >= threshold,
                face=match.face_id,
                source=match.source,
            )
            for match in matches
        ],
    )
