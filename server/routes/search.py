"""Who is on a photo, and who looks like a stored face."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from vultus.index import GalleryError, Where
from vultus.index.audit import Actor
from vultus.server.access import Seat, allowed
from vultus.server.problems import Problem
from vultus.server.schemas import Id, IdInPath, Schema, Text, When, seconds
from vultus.server.services import Here, Services
from vultus.server.shapes import FoundFace, Match, found
from vultus.server.uploads import Photo

router = APIRouter(tags=["search"], dependencies=[allowed("viewer", "search")])


class Asked(Schema):
    """How many answers, and which faces are looked at."""

    k: int = Field(5, ge=1, le=1000)
    """At most so many answers for each face."""
    by: Literal["people", "faces"] = "people"
    """`people`: a person is one answer, by the nearest face; `faces`: the nearest faces, several of a person too."""
    faces: int = Field(1, ge=1, le=100)
    """How many of a person's faces are told with the answer."""
    min_similarity: float | None = Field(None, ge=-1, le=1)
    """Leave out what is less similar."""
    person: list[Id] | None = Field(None, max_length=100)
    """Look at these people only; may be repeated."""
    collection: Text | None = None
    """Look at faces of this collection only."""
    source: Text | None = None
    """Look at faces from sources that begin so: a camera's name, a folder."""
    after: When | None = None
    """Look at faces seen then or later. With either of the two, faces without a time are left out."""
    before: When | None = None
    """Look at faces seen earlier than that."""
    min_quality: float | None = Field(None, ge=0, le=1)
    """Look at faces of this quality or better."""
    labelled: bool | None = None
    """true: only people with a name; false: only faces without one."""
    hidden: bool = False
    """Look at people who are hidden, in place of the others."""

    def where(self) -> Where:
        """As the gallery takes it."""
        return Where(
            labelled=self.labelled,
            hidden=self.hidden,
            source=self.source,
            after=seconds(self.after),
            before=seconds(self.before),
            people=None if self.person is None else tuple(self.person),
            quality=self.min_quality,
            collection=self.collection,
        )


class SearchedFace(FoundFace):
    """A face of the photo and whom it resembles, best first."""

    matches: list[Match]


class Resemblances(Schema):
    """Whom a stored face resembles, best first."""

    threshold: float
    matches: list[Match]


class SearchAnswer(Schema):
    """Every face of the photo."""

    threshold: float
    """Similarity from which on two faces count as one person."""
    width: int
    height: int
    faces: list[SearchedFace]


@router.post("/search", dependencies=[Seat])
def search(here: Here, photo: Photo, asked: Annotated[Asked, Query()]) -> SearchAnswer:
    """Find out who is on a photo: for every face the `k` most similar people, best first.

    An answer below the threshold is only the nearest there is; `match` tells. `margin` and `probability` say how sure it is.
    """
    picture = here.faces.read(photo.file.read())
    faces = here.faces.find(picture)
    threshold = here.threshold
    answers = _matches(here, [face.vector for face in faces], asked, threshold) if faces else []
    return SearchAnswer(
        threshold=threshold,
        width=picture.shape[1],
        height=picture.shape[0],
        faces=[SearchedFace(**found(face), matches=matches) for face, matches in zip(faces, answers, strict=True)],
    )


@router.get("/faces/{face_id:int}/matches", response_model=Resemblances)
async def resembling(here: Here, face_id: IdInPath, asked: Annotated[Asked, Query()]) -> Response:
    """Find who looks like a stored face, by its vector. The face itself is no answer; its person is, by another face."""
    async with here.desk.place("searches"):
        if asked.by == "faces":
            answer = await run_in_threadpool(_near_faces, here, asked, face_id)
        else:
            one, near = (face_id, here.gallery.audit.actor()), partial(_near_people, here, asked)
            answer = await here.searches.ask(asked.model_dump_json(), one, near)
    # Written already: FastAPI would look once more, in a thread, whether these are the types that they are.
    return Response(answer, media_type="application/json")


def _near_people(here: Services, asked: Asked, askers: list[tuple[int, Actor]]) -> list[str | Exception]:
    """The answers, written out, to several who ask the same of faces."""
    threshold, which = here.threshold, [face for face, _ in askers]
    k, least, where = asked.k, asked.min_similarity, asked.where()
    found = here.gallery.search_by_faces(which, k, least, where, faces=asked.faces, actors=[by for _, by in askers])
    return [
        _not_there(here, face)
        if near is None
        else Resemblances(threshold=threshold, matches=[Match.of(one, threshold) for one in near]).model_dump_json()
        for face, near in zip(which, found, strict=True)
    ]


def _near_faces(here: Services, asked: Asked, face_id: int) -> str:
    vector, threshold = here.gallery.face(face_id).vector, here.threshold
    if vector is None:
        raise _without_vector(face_id)
    (matches,) = _matches(here, [vector], asked, threshold, besides=face_id)
    return Resemblances(threshold=threshold, matches=matches).model_dump_json()


def _not_there(here: Services, face_id: int) -> Exception:
    try:
        here.gallery.face(face_id)
    except GalleryError as error:
        return error
    return _without_vector(face_id)


def _without_vector(face_id: int) -> Problem:
    return Problem(409, "no-vector", f"Face {face_id} has no vector of the model in use.")


def _matches(
    here: Services, vectors: Sequence[np.ndarray], asked: Asked, threshold: float, *, besides: int | None = None
) -> list[list[Match]]:
    where, least = asked.where(), asked.min_similarity
    if asked.by == "faces":
        near = here.gallery.search_faces(vectors, asked.k + (besides is not None), least, where)
        return [[Match.of_face(one, threshold) for one in row if one.face_id != besides][: asked.k] for row in near]
    people = here.gallery.search(vectors, asked.k, least, where, faces=asked.faces)
    return [[Match.of(one, threshold) for one in row] for row in people]
