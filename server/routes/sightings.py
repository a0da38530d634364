"""Who was seen by cameras and in videos, when and where."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, model_validator

from vultus import index
from vultus.server import pictures
from vultus.server.access import Seat, allowed
from vultus.server.problems import Problem
from vultus.server.schemas import Body, Cursor, Id, IdInPath, Limit, Listing, Name, Schema, Text, When, moment, seconds
from vultus.server.services import Here
from vultus.server.shapes import Person, Sighting
from vultus.stages.chip import chip_pixels

router = APIRouter(prefix="/sightings", tags=["sightings"], dependencies=[allowed("viewer", "events")])
_FAR = 50_000_000.0
"""Seconds; longer spans than a year and a half say nothing."""


async def _wanted(
    person: Annotated[list[Id] | None, Query(description="Of these people; may be repeated.", max_length=100)] = None,
    unknown: Annotated[
        bool | None, Query(description="true: of nobody with a name; false: of people with one.")
    ] = None,
    hidden: Annotated[bool, Query(description="Of people who are hidden, in place of the others.")] = False,
    source: Annotated[Text | None, Query(description="Of this camera or video.")] = None,
    after: Annotated[When | None, Query(description="Of this time or later.")] = None,
    before: Annotated[When | None, Query(description="Earlier than this.")] = None,
    min_similarity: Annotated[
        float | None, Query(ge=-1, le=1, description="At least so similar to the person.")
    ] = None,
) -> index.Seen:
    return index.Seen(
        people=None if person is None else tuple(person),
        unknown=unknown,
        hidden=hidden,
        source=source,
        after=seconds(after),
        before=seconds(before),
        similarity=min_similarity,
    )


Wanted = Annotated[index.Seen, Depends(_wanted)]


class Sightings(Listing[Sighting]):
    """A page of sightings, the newest first."""


class Followed(Schema):
    """Sightings in the order in which they were decided, and how to go on."""

    items: list[Sighting]
    next: int
    """`since` of the next request; nothing that is decided later has a lower number."""


class Count(Schema):
    """How many sightings there are in a span of time."""

    start: datetime
    count: int


class Shot(Schema):
    """One of the clearest pictures of a sighting: `/sightings/{number}/shots/{shot}`."""

    shot: int
    time: datetime
    position: float | None
    quality: float | None


class Who(Body):
    """Who was seen, by name or by number."""

    name: Name | None = None
    """Somebody of this name is made if not there."""
    identity: Id | None = None
    shots: list[Id] | None = Field(None, min_length=1, max_length=100)
    """By which pictures the person is enrolled; left out: by the clearest that is good enough."""

    @model_validator(mode="after")
    def _either(self) -> Who:
        if (self.name is None) == (self.identity is None):
            raise ValueError("say who it is: either name or identity")
        return self


class EnrolledSighting(Schema):
    """What became of a sighting."""

    person: Person
    faces: list[int]
    """Faces of the sighting, which are the person's now."""
    added: int
    """How many of them are new."""


@router.get("")
def sightings(here: Here, wanted: Wanted, limit: Limit = 50, cursor: Cursor = None) -> Sightings:
    """List who was seen, the newest first."""
    page = here.gallery.seen(wanted, limit=limit, cursor=cursor)
    return Sightings(items=[Sighting.of(one) for one in page.items], next=page.cursor)


@router.get("/follow")
def follow(
    here: Here,
    since: Annotated[
        int | None,
        Query(ge=0, le=2**53 - 1, description="Later ones than this; none: from now on, which gives only `next`."),
    ] = None,
    person: Annotated[Id | None, Query(description="Of this person only.")] = None,
    source: Annotated[Text | None, Query(description="Of this camera or video only.")] = None,
    limit: Limit = 50,
) -> Followed:
    """Read sightings in the order in which they were decided; a program that was away goes on and misses nothing.

    One that is corrected (a stranger who was recognised after all) comes again under a new number, in place of the former;
    run, source and track tell which one it is. To be told at once instead of asking again: `/events`.
    """
    if since is None:
        return Followed(items=[], next=here.gallery.newest_sighting())
    found = here.gallery.sightings(since, limit, source=source, identity=person)
    shown = [Sighting.of(one) for one in found if not one.hidden]
    return Followed(items=shown, next=found[-1].id if found else since)


@router.get("/counts")
def counts(
    here: Here,
    wanted: Wanted,
    every: Annotated[float, Query(ge=60, le=_FAR, description="Seconds of a span.")] = 3600.0,
    shift: Annotated[
        float, Query(ge=-86_400, le=86_400, description="Offset of the time zone in seconds, east positive.")
    ] = 0.0,
) -> Listing[Count]:
    """Count sightings by hour, or by another span of time: for a timeline. At most the newest 10,000 spans."""
    found = here.gallery.seen_counts(wanted, every=every, shift=shift)
    return Listing(items=[Count(start=moment(start), count=count) for start, count in found])


@router.get("/{number:int}")
def sighting(here: Here, number: IdInPath) -> Sighting:
    """Tell about one sighting. 404 also if it was corrected since, and has a new number."""
    return Sighting.of(here.gallery.sighting(number))


@router.get("/{number:int}/shots")
def shots(here: Here, number: IdInPath) -> Listing[Shot]:
    """List the pictures that are kept of a sighting, the clearest first; `retention.shots_days` says for how long."""
    number = here.gallery.sighting(number).id
    found = here.gallery.shots(number)
    return Listing(
        items=[Shot(shot=one.id, time=moment(one.time), position=one.position, quality=one.quality) for one in found]
    )


@router.get("/{number:int}/shots/{shot:int}", response_class=Response, responses=pictures.RESPONSES)
def shot(here: Here, request: Request, number: IdInPath, shot: IdInPath) -> Response:
    """Send a picture of a sighting, a JPEG file: coarse squares where `privacy` or hiding says so."""
    seen = here.gallery.sighting(number)
    for one in here.gallery.shots(number):
        if one.id == shot:
            return pictures.answer(here, request, one.jpeg, seen.name, hidden=seen.hidden)
    raise Problem(404, "no-picture", f"Picture {shot} is not one of sighting {number}.")


@router.post("/{number:int}/enrol", status_code=201, dependencies=[allowed("operator", "people"), Seat])
def enrol_sighting(here: Here, response: Response, number: IdInPath, who: Who) -> EnrolledSighting:
    """Say who was seen: the sighting and its faces become that person's, who can be found by them from now on.

    Pictures below `store.enrol_quality` are not enrolled. A second time nothing is added. Can be undone.
    """
    chosen = _enrolable(here, here.gallery.shots(here.gallery.sighting(number).id), who.shots)
    found = {one.id: vector for one, vector in zip(chosen, _embedded(here, chosen), strict=True)}
    done = here.gallery.enrol_sighting(number, who.name or who.identity or 0, found)
    response.headers["Location"] = f"/api/v1/people/{done.identity}"
    return EnrolledSighting(
        person=Person.of(here.gallery.person(done.identity)), faces=list(done.faces), added=done.added
    )


@router.post("/{number}/deny", dependencies=[allowed("operator", "people"), Seat])
def deny_sighting(here: Here, number: IdInPath) -> Sighting:
    """Say that the person of a sighting is not on it: it becomes one of nobody, under a new number.

    Its clearest picture becomes a face of nobody that is a negative example of the person, so that faces like it are not taken
    for the person again.
    """
    seen = here.gallery.sighting(number)
    if seen.identity is None:
        raise Problem(409, "nobody", f"Sighting {number} is of nobody.")
    chosen = _enrolable(here, here.gallery.shots(number), None)
    examples = {one.id: vector for one, vector in zip(chosen, _embedded(here, chosen), strict=True)}
    return Sighting.of(here.gallery.sighting(here.gallery.deny_sighting(number, examples)))


def _embedded(here: Here, shots: Sequence[index.Shot]) -> Sequence[np.ndarray]:
    """The vector of each picture."""
    return list(here.faces.embed(np.stack([chip_pixels(one.jpeg) for one in shots]))) if shots else []


def _enrolable(here: Here, found: Sequence[index.Shot], wanted: Sequence[int] | None) -> list[index.Shot]:
    least = here.config.store.enrol_quality
    if wanted is None:
        return [one for one in found if (one.quality or 0.0) >= least][:1]
    known = {one.id: one for one in found}
    for one in wanted:
        if one not in known:
            raise Problem(404, "no-picture", f"Picture {one} is not one of this sighting.")
        quality = known[one].quality or 0.0
        if quality < least:
            what = f"Picture {one}: quality {quality:.2f} is below store.enrol_quality."
            raise Problem(422, "low-quality", what)
    return [known[one] for one in dict.fromkeys(wanted)]
