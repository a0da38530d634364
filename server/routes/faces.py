"""Single faces that the gallery holds."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from vultus.index.directory import FacesOrder
from vultus.server import pictures
from vultus.server.access import allowed
from vultus.server.problems import Problem
from vultus.server.schemas import Body, Cursor, Id, IdInPath, Limit, Name
from vultus.server.services import Here
from vultus.server.shapes import Face, Faces, Person

router = APIRouter(prefix="/faces", tags=["faces"], dependencies=[allowed("viewer", "people")])
OPERATOR = allowed("operator", "people")


class Which(Body):
    """Which faces."""

    faces: list[Id] = Field(min_length=1, max_length=10_000)


class Move(Which):
    """Whose they are."""

    to: Id | None
    """The person; none: nobody's."""


class NamedFaces(Which):
    """Who it is."""

    name: Name


@router.get("")
def faces(
    here: Here,
    order: Annotated[FacesOrder, Query(description="The best first, or by when they were stored.")] = "best",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Faces:
    """List the faces that are nobody's. Those of a person, with or without a name, are at `/people/{identity}/faces`."""
    page = here.gallery.faces_page(None, order=order, limit=limit, cursor=cursor)
    return Faces(items=[Face.of(one) for one in page.items], next=page.cursor)


@router.get("/{face_id:int}")
def face(here: Here, face_id: IdInPath) -> Face:
    """Tell what is known of a face: whose it is, where it was seen, how good it is."""
    return Face.of(here.gallery.face(face_id))


@router.get("/{face_id:int}/chip", response_class=Response, responses=pictures.RESPONSES)
def chip(here: Here, request: Request, face_id: IdInPath) -> Response:
    """Send the picture of a face, a JPEG file of 112x112 pixels: coarse squares where `privacy` or hiding says so.

    404 if none was kept (`store.keep_chips`).
    """
    one = here.gallery.face(face_id)
    if one.chip is None:
        raise Problem(404, "no-picture", f"No picture was kept of face {face_id}.")
    hidden = one.identity is not None and here.gallery.identity(one.identity).hidden
    return pictures.answer(here, request, one.chip, one.name, hidden=hidden)


@router.delete("/{face_id:int}", status_code=204, dependencies=[OPERATOR])
def delete_face(here: Here, face_id: IdInPath) -> None:
    """Delete a face for good, with vector and picture. A person with a name stays, also without faces."""
    here.gallery.remove_faces([face_id])


@router.post("/delete", status_code=204, dependencies=[OPERATOR])
def delete_faces(here: Here, which: Which) -> None:
    """Delete several faces for good: all of them, or, if one is not there, none."""
    here.gallery.remove_faces(which.faces)


@router.post("/enrol", status_code=201, dependencies=[OPERATOR])
def enrol_faces(here: Here, response: Response, named: NamedFaces) -> Person:
    """Say who is on stored faces, whose ever or nobody's: they become those of the person of this name, made if not there.

    Can be undone: the faces go back to whose they were.
    """
    person = here.gallery.name_faces(named.faces, named.name)
    response.headers["Location"] = f"/api/v1/people/{person}"
    return Person.of(here.gallery.person(person))


@router.post("/move", status_code=204, dependencies=[OPERATOR])
def move_faces(here: Here, move: Move) -> None:
    """Give faces, and the sightings of the same looks, to another person who is there, or to nobody. Can be undone."""
    here.gallery.move_faces(move.faces, move.to)
