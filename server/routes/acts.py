"""What was done to people and faces, taking it back, and who is not whom."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import Field

from vultus import index
from vultus.server.access import Seat, allowed
from vultus.server.patience import patiently
from vultus.server.schemas import Body, IdInPath, Limit, Listing, NumberCursor, Schema, Similarity, moment
from vultus.server.services import Here

router = APIRouter(tags=["people"], dependencies=[allowed("viewer", "people")])
OPERATOR = allowed("operator", "people")
_REMEMBERED = 1000
"""Acts that a gallery keeps."""


class Act(Schema):
    """What somebody did to people and faces, and can take back."""

    act: int
    """Its number."""
    kind: str
    """merge, split, move, name, rename, hide or show."""
    at: datetime
    summary: str
    """In words, with the names that people have now."""
    undone: datetime | None
    """When it was taken back."""
    lost: int
    """In the answer to an undo: faces that could not be brought back, since they are gone or somebody else's by now."""

    @classmethod
    def of(cls, one: index.Act) -> Self:
        """Of the gallery's."""
        return cls(
            act=one.id,
            kind=one.kind,
            at=moment(one.at),
            summary=one.summary,
            undone=moment(one.undone),
            lost=one.lost,
        )


class Acts(Listing[Act]):
    """Acts, the newest first."""


class Undo(Body):
    """How much is to be taken back."""

    count: int = Field(1, ge=1, le=1000)
    """The last so many acts that are not undone yet: all of them, or, with a 409, none."""


class Denial(Schema):
    """A person is not on a face, or two people are not the same."""

    identity: int
    name: str | None
    face_id: int | None
    source: str | None
    """Where the face was seen."""
    other: int | None
    other_name: str | None
    at: datetime

    @classmethod
    def of(cls, one: index.Denial) -> Self:
        """Of the gallery's."""
        return cls(
            identity=one.identity,
            name=one.name,
            face_id=one.face,
            source=one.source,
            other=one.other,
            other_name=one.other_name,
            at=moment(one.at),
        )


class Denials(Listing[Denial]):
    """What was said, oldest first."""


class Confusable(Schema):
    """Two people so similar that one may be taken for the other, by their two most similar faces."""

    identity: int
    name: str
    face_id: int
    source: str
    other: int
    other_name: str
    other_face_id: int
    other_source: str
    similarity: Similarity
    shares: tuple[float, float]
    """Of the faces of either, the share that is near to the other."""
    reading: str
    """What is to be made of it, in words."""

    @classmethod
    def of(cls, one: index.Confusable) -> Self:
        """Of the gallery's."""
        return cls(
            identity=one.identity,
            name=one.name,
            face_id=one.face,
            source=one.source,
            other=one.other,
            other_name=one.other_name,
            other_face_id=one.other_face,
            other_source=one.other_source,
            similarity=round(one.similarity, 6),
            shares=one.shares,
            reading=one.reading,
        )


class Confusions(Schema):
    """Pairs of people, the most similar first."""

    threshold: float
    items: list[Confusable]


@router.get("/acts")
def acts(here: Here, limit: Limit = 50, cursor: NumberCursor = None) -> Acts:
    """List what was done to people and faces, the newest first. A thousand acts are remembered."""
    known = here.gallery.acts(limit if cursor is None else _REMEMBERED)
    found = [one for one in known if cursor is None or one.id < cursor][:limit]
    return Acts(items=[Act.of(one) for one in found], next=str(found[-1].id) if len(found) == limit else None)


@router.post("/acts/undo", dependencies=[OPERATOR])
def undo_last(here: Here, undo: Undo) -> Acts:
    """Take back the last acts that are not undone yet.

    Each is a new change: somebody who was merged comes back with name, faces and sightings, under a new number.
    """
    return Acts(items=[Act.of(one) for one in here.gallery.undo(undo.count)])


@router.post("/acts/{act:int}/undo", dependencies=[OPERATOR])
def undo_act(here: Here, act: IdInPath) -> Act:
    """Take back one act, by its number."""
    return Act.of(here.gallery.undo(act=act)[0])


@router.get("/denials")
def denials(here: Here) -> Denials:
    """List everything that was said not to be so: this person is not on that face, these two are not the same."""
    return Denials(items=[Denial.of(one) for one in here.gallery.denials()])


@router.get("/people/{identity:int}/denials")
def denials_of_person(here: Here, identity: IdInPath) -> Denials:
    """List what was said about one person."""
    return Denials(items=[Denial.of(one) for one in here.gallery.denials(identity)])


@router.put("/people/{identity:int}/denials/faces/{face_id:int}", status_code=204, dependencies=[OPERATOR])
def deny_face(here: Here, identity: IdInPath, face_id: IdInPath) -> None:
    """Say that a person is not on a stored face.

    Searches answer with the person only if their own faces are nearer than this one; no clustering gives them the face.
    """
    here.gallery.deny(identity, face=face_id)


@router.delete("/people/{identity:int}/denials/faces/{face_id:int}", status_code=204, dependencies=[OPERATOR])
def allow_face(here: Here, identity: IdInPath, face_id: IdInPath) -> None:
    """Take back that a person is not on a face."""
    here.gallery.allow(identity, face=face_id)


@router.put("/people/{identity:int}/denials/people/{other:int}", status_code=204, dependencies=[OPERATOR])
def deny_person(here: Here, identity: IdInPath, other: IdInPath) -> None:
    """Say that two people are not the same, however similar they are."""
    here.gallery.deny(identity, other=other)


@router.delete("/people/{identity:int}/denials/people/{other:int}", status_code=204, dependencies=[OPERATOR])
def allow_person(here: Here, identity: IdInPath, other: IdInPath) -> None:
    """Take back that two people are not the same."""
    here.gallery.allow(identity, other=other)


@router.get("/confusable", dependencies=[Seat])
def confusable(
    here: Here,
    threshold: Annotated[float | None, Query(ge=-1, le=1, description="Least similarity; the one in use.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Confusions:
    """List pairs of people so similar that one may be taken for the other: one person twice, or a face with the wrong name.

    Merge them, move the face, or say that they are two. Up to 5000 faces are compared with
    all others; what takes longer than a minute ends with 503 `takes-too-long`.
    """
    least = here.threshold if threshold is None else threshold
    pairs = here.gallery.calibration.confusable(least, patiently("vultus people confusable"))
    return Confusions(threshold=least, items=[Confusable.of(one) for one in pairs[:limit]])
