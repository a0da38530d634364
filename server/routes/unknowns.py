"""People whom nobody has named yet, made of faces that are alike."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from vultus.index import Gathered
from vultus.server.access import Seat, allowed
from vultus.server.schemas import Body, Cursor, Id, IdInPath, Limit, Listing, Name, Schema
from vultus.server.services import Here
from vultus.server.shapes import Person, Unknown

router = APIRouter(prefix="/unknowns", tags=["unknown people"], dependencies=[allowed("viewer", "people")])
OPERATOR = allowed("operator", "people")
_AT_ONCE = 2048
"""Faces that one request gathers at most, so that it ends soon."""


class UnknownPeople(Listing[Unknown]):
    """A page of unknown people."""


class Named(Body):
    """Who it is."""

    name: Name


class Same(Body):
    """Who is the same unknown person."""

    others: list[Id] = Field(min_length=1, max_length=1000)


class Shown(Body):
    """Whether an unknown person is ignored."""

    hidden: bool
    """true: no list, search or sighting shows the person any more."""


class Again(Body):
    """What to look at."""

    again: bool = False
    """Look once more at all of nobody's faces, also those left over before."""


class GatheredFaces(Schema):
    """What became of faces that were nobody's."""

    faces: int
    """Looked at."""
    joined: int
    """Now of an unknown person who was there before."""
    founded: int
    """Of new unknown people."""
    merged: int
    """Unknown people who turned out to be another one."""
    left: int
    """Still nobody's: too blurred, or near to somebody with a name."""
    pending: int
    """Not looked at yet; ask again until there are none."""

    @classmethod
    def of(cls, done: Gathered, pending: int) -> GatheredFaces:
        """Of the gallery's."""
        return cls(
            faces=done.faces,
            joined=done.joined,
            founded=done.founded,
            merged=done.merged,
            left=done.left,
            pending=pending,
        )


@router.get("")
def unknowns(
    here: Here,
    order: Annotated[
        Literal["faces", "newest"], Query(description="Those first who have most faces, or who came last.")
    ] = "faces",
    least: Annotated[int, Query(ge=1, le=2**31 - 1, description="With at least so many faces.")] = 1,
    hidden: Annotated[bool, Query(description="Those who are ignored, in place of the others.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> UnknownPeople:
    """List the unknown people."""
    page = here.gallery.unknowns.page(order=order, least=least, hidden=hidden, limit=limit, cursor=cursor)
    return UnknownPeople(items=[Unknown.of(one) for one in page.items], next=page.cursor)


@router.get("/{identity:int}")
def unknown(here: Here, identity: IdInPath) -> Unknown:
    """Tell about an unknown person; the faces are at `/people/{identity}/faces`."""
    return Unknown.of(here.gallery.unknowns.get(identity))


@router.post("/{identity:int}/name", dependencies=[OPERATOR])
def name_unknown(here: Here, identity: IdInPath, named: Named) -> Person:
    """Say who an unknown person is.

    If somebody has that name already, the faces become that person's, whose number the answer tells. Can be undone.
    """
    return Person.of(here.gallery.person(here.gallery.unknowns.name(identity, named.name)))


@router.post("/{identity:int}/merge", dependencies=[OPERATOR])
def merge_unknowns(here: Here, identity: IdInPath, same: Same) -> Unknown:
    """Say that other unknown people are the same one: their faces become this one's. Each is an act that can be undone."""
    others = [here.gallery.unknowns.get(other).id for other in dict.fromkeys(same.others)]
    for other in others:
        here.gallery.unknowns.merge(identity, other)
    return Unknown.of(here.gallery.unknowns.get(identity))


@router.patch("/{identity:int}", dependencies=[OPERATOR])
def ignore_unknown(here: Here, identity: IdInPath, shown: Shown) -> Unknown:
    """Ignore an unknown person, or no longer: one who is ignored goes on taking the faces that are theirs, silently."""
    here.gallery.hide(here.gallery.unknowns.get(identity).id, shown.hidden)
    return Unknown.of(here.gallery.unknowns.get(identity))


@router.delete("/{identity:int}", status_code=204, dependencies=[OPERATOR])
def delete_unknown(here: Here, identity: IdInPath) -> None:
    """Erase an unknown person with all faces, pictures and sightings. This cannot be undone."""
    here.gallery.remove_identity(here.gallery.unknowns.get(identity).id)


@router.post("/gather", dependencies=[OPERATOR, Seat])
def gather(here: Here, what: Again) -> GatheredFaces:
    """Make unknown people of faces that are nobody's and were not looked at yet, up to 2048 at once.

    Indexing does this by itself; this is for a gallery whose threshold has changed (`again`), or that was filled without.
    """
    unknowns = here.gallery.unknowns
    return GatheredFaces.of(unknowns.gather(here.threshold, again=what.again, limit=_AT_ONCE), unknowns.pending())
