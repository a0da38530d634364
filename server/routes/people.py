"""The people of the gallery: who they are, their faces, and whose faces these are."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from vultus.index.directory import FacesOrder, PeopleOrder
from vultus.index.types import Box
from vultus.server.access import Seat, allowed
from vultus.server.enrolling import Enrolment, enrol
from vultus.server.problems import Problem
from vultus.server.schemas import Body, Cursor, Id, IdInPath, Limit, Listing, Name
from vultus.server.services import Here
from vultus.server.shapes import Face, Faces, Person

router = APIRouter(prefix="/people", tags=["people"], dependencies=[allowed("viewer", "people")])
OPERATOR = allowed("operator", "people")
_AT_ONCE = 1 << 20

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_NUMBER = r"-?\d{1,6}(\.\d{1,6})?"
Photos = Annotated[
    list[UploadFile],
    File(min_length=1, max_length=100, description="Photos, each of that person, alone or clearly the largest face."),
]
Boxes = Annotated[
    list[Annotated[str, Field(max_length=100, pattern=rf"^({_NUMBER}(,{_NUMBER}){{3}})?$")]] | None,
    Form(
        description="For photos with several faces, which is meant: `left,top,width,height` as `/detect` tells it. None at "
        "all, or one for each photo in their order, empty where the photo leaves no doubt.",
        max_length=100,
    ),
]
Collection = Annotated[Name | None, Form(description="Put the faces into this collection.")]
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": Enrolment, "description": "All of it was known before"},
}


class People(Listing[Person]):
    """A page of people."""


class Changes(Body):
    """What is to be different; what is left out stays."""

    name: Name | None = None
    """The name from now on; it also gives an unknown person the first one."""
    hidden: bool | None = None
    """Whether searches and lists leave the person out."""


class Others(Body):
    """Who is the same person."""

    others: list[Id] = Field(min_length=1, max_length=1000)


class Split(Body):
    """Which faces are somebody else's."""

    faces: list[Id] = Field(min_length=1, max_length=10_000)
    name: Name | None = None
    """Of the new person, if it is known."""


class _Sent(StreamingResponse):
    """A file that is closed, and gone with that, when it is sent or nobody wants it any more."""

    media_type = "application/zip"

    def __init__(self, file: IO[bytes], headers: dict[str, str]) -> None:
        self._file = file
        super().__init__(iter(partial(file.read, _AT_ONCE), b""), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)


@router.post("", status_code=201, responses=_CREATED, dependencies=[OPERATOR, Seat])
def enrol_person(
    here: Here,
    response: Response,
    name: Annotated[Name, Form()],
    photos: Photos,
    box: Boxes = None,
    collection: Collection = None,
) -> Enrolment:
    """Enrol a person by photos. Somebody who has this name already gets the faces too.

    Of several faces on a photo the largest is taken if it is clearly the largest, or the one at `box`; otherwise the photo is
    refused, as is one whose face is hardly recognisable (`store.enrol_quality`). The others are used all the same; only if
    none is left the answer is 422, with the reasons in `refused`. A photo that was sent before adds nothing, so a request
    may be repeated.
    """
    return _enrolled(here, response, name, photos, box, collection)


@router.get("/{identity:int}/faces")
def faces_of_person(
    here: Here,
    identity: IdInPath,
    order: Annotated[FacesOrder, Query(description="The best first, or by when they were stored.")] = "best",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Faces:
    """List a person's faces; also of one who is hidden or unknown."""
    page = here.gallery.faces_page(identity, order=order, limit=limit, cursor=cursor)
    return Faces(items=[Face.of(one) for one in page.items], next=page.cursor)


@router.post("/{identity:int}/faces", status_code=201, responses=_CREATED, dependencies=[OPERATOR, Seat])
def enrol_more(
    here: Here,
    response: Response,
    identity: IdInPath,
    photos: Photos,
    box: Boxes = None,
    collection: Collection = None,
) -> Enrolment:
    """Add the faces of photos to a person, as in enrolling one."""
    return _enrolled(here, response, identity, photos, box, collection)


@router.get("")
def people(
    here: Here,
    q: Annotated[
        str | None, Query(max_length=200, description="Part of the name; case and accents do not count.")
    ] = None,
    order: Annotated[
        PeopleOrder, Query(description="By name, those first who came last, or those who have most faces.")
    ] = "name",
    hidden: Annotated[bool, Query(description="Those who are hidden, in place of the others.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> People:
    """List the people who have a name, or look for one by a part of it."""
    page = here.gallery.people(q, order=order, hidden=hidden, limit=limit, cursor=cursor)
    return People(items=[Person.of(one) for one in page.items], next=page.cursor)


@router.get("/{identity:int}")
def person(here: Here, identity: IdInPath) -> Person:
    """Tell who a person is; also of one who is hidden or unknown."""
    return Person.of(here.gallery.person(identity))


@router.patch("/{identity:int}", dependencies=[OPERATOR])
def change_person(here: Here, identity: IdInPath, changes: Changes) -> Person:
    """Rename a person, or hide or show one.

    A name that somebody else has is a 409: merge the two, if they are one. Both can be undone.
    """
    if changes.name is not None:
        here.gallery.rename(identity, changes.name)
    if changes.hidden is not None:
        here.gallery.hide(identity, changes.hidden)
    return Person.of(here.gallery.person(identity))


@router.delete("/{identity:int}", status_code=204, dependencies=[OPERATOR])
def delete_person(here: Here, identity: IdInPath) -> None:
    """Erase a person: name, faces, vectors, pictures and sightings. This cannot be undone.

    No search that starts afterwards finds the person; earlier backups still have everything.
    """
    here.gallery.remove_identity(identity)


@router.post("/{identity:int}/merge", dependencies=[OPERATOR])
def merge_people(here: Here, identity: IdInPath, same: Others) -> Person:
    """Say that others are the same person: their faces and sightings become this one's, and they are gone.

    Each is an act that can be undone.
    """
    others = [here.gallery.identity(other).id for other in dict.fromkeys(same.others)]
    for other in others:
        here.gallery.merge(identity, other)
    return Person.of(here.gallery.person(identity))


@router.post("/{identity:int}/split", status_code=201, dependencies=[OPERATOR])
def split_person(here: Here, response: Response, identity: IdInPath, split: Split) -> Person:
    """Make another person of some of a person's faces, unknown or with a name; the answer is the new one.

    Clustering never joins the two again. Can be undone.
    """
    number = here.gallery.split(identity, split.faces, split.name)
    response.headers["Location"] = f"/api/v1/people/{number}"
    return Person.of(here.gallery.person(number))


@router.get(
    "/{identity:int}/export",
    response_class=StreamingResponse,
    responses={
        200: {"content": {_Sent.media_type: _BINARY}, "description": "A zip file; a README inside says what is what"}
    },
    dependencies=[OPERATOR],
)
def export_person(here: Here, identity: IdInPath) -> StreamingResponse:
    """Send all that is held about a person, for that person, as one zip file.

    Faces with pictures, places and times, vectors, sightings, what was said and done about the person.
    """
    with ExitStack() as failed:
        file = failed.enter_context(TemporaryFile())
        done = here.gallery.export(identity, file)
        size = file.tell()
        file.seek(0)
        failed.pop_all()
    name = quote(f"{done.name or f'person-{identity}'}.zip", safe="")
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename=\"person-{identity}.zip\"; filename*=UTF-8''{name}",
        "Cache-Control": "no-store",
    }
    return _Sent(file, headers)


def _enrolled(
    here: Here,
    response: Response,
    who: str | int,
    photos: list[UploadFile],
    box: list[str] | None,
    collection: str | None,
) -> Enrolment:
    boxes = [_box(text) for text in box] if box else [None] * len(photos)
    if len(boxes) != len(photos):
        raise Problem(422, "invalid", f"body.box: {len(boxes)} boxes for {len(photos)} photos; send one each, or none")
    done, new = enrol(here, who, photos, boxes, collection)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/v1/people/{done.person.identity}"
    return done


def _box(text: str) -> Box | None:
    if not text:
        return None
    left, top, width, height = (float(number) for number in text.split(","))
    return left, top, width, height
