"""Enrolling a person by photos that come with a request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import UploadFile
from msgspec import Struct

from vultus.index import UnknownIdentity
from vultus.index.types import Box
from vultus.pipeline.errors import RefusedInput
from vultus.server.problems import Problem
from vultus.server.schemas import Box as BoxShape
from vultus.server.schemas import Schema
from vultus.server.services import Services
from vultus.server.shapes import Person, rounded
from vultus.stages import enrolment
from vultus.stages.finder import FoundFace

SOURCE = "upload/"
"""What sources of uploaded faces begin with; then comes the photo's digest, so that it is known when it comes again."""
_NAME = 100


class EnrolledPhoto(Schema):
    """A photo whose face the person has now."""

    photo: int
    """Its place in the request, from 0."""
    file: str
    face_id: int
    box: BoxShape
    quality: float
    known: bool
    """Whether the person had this face of this photo before."""


class RefusedPhoto(Schema):
    """A photo that was not used, and why."""

    photo: int
    file: str
    kind: Literal["unreadable", "no-face", "several-faces", "no-such-face", "low-quality"]
    reason: str
    """In words."""
    faces: list[BoxShape]
    """Where its faces are: one of these can be sent as the photo's `box`."""


class Enrolment(Schema):
    """What became of photos that were to enrol a person."""

    person: Person
    enrolled: list[EnrolledPhoto]
    refused: list[RefusedPhoto]


class _Chosen(Struct, frozen=True, eq=False):
    photo: int
    file: str
    source: str
    face: FoundFace

    @property
    def key(self) -> tuple[str, Box]:
        """What tells whether a person has it already."""
        return _digest(self.source), self.face.box


def enrol(
    here: Services, who: str | int, photos: Sequence[UploadFile], boxes: Sequence[Box | None], collection: str | None
) -> tuple[Enrolment, bool]:
    """Add a face of each photo to a person, by name (made if not there) or number; tell whether anything is new.

    Raises UnknownIdentity for a number that nobody has, and Problem if no photo can be used.
    """
    if isinstance(who, int):
        here.gallery.identity(who)
    chosen, refused = _chosen(here, photos, boxes)
    if not chosen:
        told: dict[str, Any] = {"refused": [one.model_dump(mode="json") for one in refused]}
        raise Problem(422, "nobody-enrolled", f"No photo could be used: {refused[0].reason}.", extra=told)
    known = _stored(here, who)
    new = {one.key: one for one in reversed(chosen) if one.key not in known}
    if new:
        keep = here.config.store.keep_chips
        vectors = [one.face.vector for one in new.values()]
        records = [enrolment.record(one.source, one.face, chip=keep, collection=collection) for one in new.values()]
        if isinstance(who, str):
            who = here.gallery.enrol(who, vectors, records)
        else:
            here.gallery.add_faces(vectors, records, who)
    stored = _stored(here, who)
    enrolled = [
        EnrolledPhoto(
            photo=one.photo,
            file=one.file,
            face_id=stored[one.key],
            box=rounded(one.face.box),
            quality=round(one.face.quality, 4),
            known=new.get(one.key) is not one,
        )
        for one in chosen
    ]
    return Enrolment(person=Person.of(here.gallery.person(who)), enrolled=enrolled, refused=refused), bool(new)


def _chosen(
    here: Services, photos: Sequence[UploadFile], boxes: Sequence[Box | None]
) -> tuple[list[_Chosen], list[RefusedPhoto]]:
    chosen, refused = list[_Chosen](), list[RefusedPhoto]()
    for number, (photo, box) in enumerate(zip(photos, boxes, strict=True)):
        data = photo.file.read()
        file = _file(photo.filename)
        faces: list[FoundFace] = []
        try:
            picture = here.faces.read(data)
            faces = here.faces.find(picture)
            face = enrolment.meant(faces, box)
            enrolment.check(picture, face, here.config.store.enrol_quality)
        except (RefusedInput, enrolment.Unfit) as error:
            kind = error.kind if isinstance(error, enrolment.Unfit) else "unreadable"
            where = [rounded(face.box) for face in faces]
            refused.append(RefusedPhoto(photo=number, file=file, kind=kind, reason=str(error), faces=where))
        else:
            digest = hashlib.blake2b(data, digest_size=16).hexdigest()
            chosen.append(_Chosen(number, file, f"{SOURCE}{digest}/{file}", face))
    return chosen, refused


def _stored(here: Services, who: str | int) -> dict[tuple[str, Box | None], int]:
    """The faces that a person has of uploaded photos, by the photo's digest and place."""
    try:
        faces = here.gallery.faces(who)
    except UnknownIdentity:
        return {}
    return {(_digest(face.source), face.box): face.id for face in faces if face.source.startswith(SOURCE)}


def _digest(source: str) -> str:
    return source.removeprefix(SOURCE).partition("/")[0]


def _file(name: str | None) -> str:
    """The name of an uploaded file as it may be stored: no folders, no control characters, not too long."""
    last = re.split(r"[\\/]", name or "")[-1]
    clean = "".join(letter for letter in last if letter.isprintable()).strip()
    return clean[-_NAME:] or "photo"
