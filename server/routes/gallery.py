"""The gallery as a whole: its figures, its collections, and who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query

from vultus import index
from vultus.index import AuditWhere
from vultus.index.types import Stats as Figures
from vultus.server.access import allowed
from vultus.server.schemas import Cursor, Limit, Listing, Schema, Text, When, moment, seconds
from vultus.server.services import Here

router = APIRouter(tags=["gallery"])


class Stats(Schema):
    """Figures of the gallery."""

    identities: int
    """People with a name."""
    unknown: int
    """People without one, who have faces."""
    faces: int
    unlabelled: int
    """Faces of nobody who has a name."""
    files: int
    sightings: int
    index: str
    """Its kind, and the bytes that a vector takes in memory."""
    bytes_per_vector: int
    recall: float | None
    """How often a search finds the nearest person; none: always, or not measured."""
    model: str | None
    """Fingerprint of the embedding model."""
    dim: int | None
    """Numbers in a vector."""
    size_bytes: int
    """On the disk."""
    last_snapshot: datetime | None
    encrypted: bool

    @classmethod
    def of(cls, one: Figures) -> Self:
        """Of the gallery's."""
        return cls(
            identities=one.identities,
            unknown=one.unknown,
            faces=one.faces,
            unlabelled=one.unlabelled,
            files=one.files,
            sightings=one.sightings,
            index=one.index,
            bytes_per_vector=one.bytes_per_vector,
            recall=one.recall,
            model=one.model,
            dim=one.dim,
            size_bytes=one.size_bytes,
            last_snapshot=moment(one.last_snapshot),
            encrypted=one.encrypted,
        )


class Collection(Schema):
    """A set of faces that searches can be restricted to."""

    name: str
    faces: int
    people: int
    """Who have faces in it, with and without a name."""


class Entry(Schema):
    """Somebody did something."""

    at: datetime
    actor: str | None
    """A user, `key:NAME` for an API key, `local`, or who the operating system says; none if that was not recorded."""
    via: str | None
    """Where the request came from."""
    program: str
    operation: str
    """`search`, `export`, `login` and others, or what was changed."""
    people: list[int]
    """Numbers of those who were found, changed, or looked at."""
    faces: int
    """Probes of a search, faces of a change."""
    k: int | None
    threshold: float | None

    @classmethod
    def of(cls, one: index.AuditEntry) -> Self:
        """Of the gallery's."""
        return cls(
            at=moment(one.at),
            actor=one.actor,
            via=one.via,
            program=one.program,
            operation=one.operation,
            people=list(one.people),
            faces=one.faces,
            k=one.k,
            threshold=one.threshold,
        )


class Entries(Listing[Entry]):
    """A page of the audit log, the newest first."""


@router.get("/gallery", dependencies=[allowed("viewer", "people")])
def stats(here: Here) -> Stats:
    """Tell how many people, faces and sightings there are, and how large the gallery is."""
    return Stats.of(here.gallery.stats())


@router.get("/collections", dependencies=[allowed("viewer", "people")])
def collections(here: Here) -> Listing[Collection]:
    """List the collections that faces are in."""
    found = here.gallery.collections()
    return Listing(items=[Collection(name=one.name, faces=one.faces, people=one.people) for one in found])


@router.get("/audit", dependencies=[allowed("admin", "system")])
def audit(
    here: Here,
    after: Annotated[When | None, Query(description="Of this time or later.")] = None,
    before: Annotated[When | None, Query(description="Earlier than this.")] = None,
    actor: Annotated[Text | None, Query(description="What this user or key did.")] = None,
    operation: Annotated[list[Text] | None, Query(description="Only these; may be repeated.", max_length=100)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Entries:
    """Read who searched for whom and who changed what, the newest first.

    People are told by their numbers only, so that erasing a person leaves no name here.
    """
    where = AuditWhere(
        after=seconds(after),
        before=seconds(before),
        actor=actor,
        operations=None if operation is None else tuple(operation),
    )
    page = here.gallery.audit.page(where, limit=limit, cursor=cursor)
    return Entries(items=[Entry.of(one) for one in page.items], next=page.cursor)
