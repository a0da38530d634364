"""What the server answers, as types. Fields that a newer server adds are passed over.

Boxes are `(x, y, width, height)` and landmarks five `(x, y)` points, in pixels of the upright picture. Similarities are
cosines in [-1, 1]. Times have their zone: UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

Box = tuple[float, float, float, float]
Landmarks = tuple[tuple[float, float], ...]


class Person(Struct, frozen=True, kw_only=True):
    """Somebody in the gallery."""

    identity: int
    name: str | None
    """None: an unknown person."""
    faces: int
    created: datetime
    hidden: bool
    best_face: int | None
    last_seen: datetime | None


class Unknown(Struct, frozen=True, kw_only=True):
    """A person without a name."""

    identity: int
    faces: int
    sightings: int
    first: datetime
    last: datetime
    best_face: int | None
    sources: tuple[str, ...]
    hidden: bool
    created: datetime


class Face(Struct, frozen=True, kw_only=True):
    """A face of the gallery."""

    face_id: int
    identity: int | None
    name: str | None
    source: str
    created: datetime
    position: float | None = None
    time: datetime | None = None
    box: Box | None = None
    landmarks: Landmarks | None = None
    score: float | None = None
    quality: float | None = None
    track: int | None = None
    collection: str | None = None


class Near(Struct, frozen=True, kw_only=True):
    """A face of the gallery that spoke for a person."""

    face_id: int
    identity: int | None
    name: str | None
    similarity: float
    source: str
    position: float | None = None
    time: datetime | None = None
    box: Box | None = None
    quality: float | None = None
    collection: str | None = None


class Match(Struct, frozen=True, kw_only=True):
    """A person whom a face resembles."""

    identity: int | None
    name: str | None
    similarity: float
    match: bool
    """Whether the similarity reaches the threshold."""
    face_id: int
    source: str
    hidden: bool = False
    margin: float | None = None
    probability: float | None = None
    position: float | None = None
    time: datetime | None = None
    box: Box | None = None
    faces: tuple[Near, ...] = ()


class FoundFace(Struct, frozen=True, kw_only=True):
    """A face of a photo that was sent."""

    box: Box
    landmarks: Landmarks
    score: float
    quality: float
    chip: str | None = None
    """The aligned face as a JPEG in base64, if it was asked for."""


class SearchedFace(FoundFace, frozen=True, kw_only=True):
    """The same with whom it resembles, best first."""

    matches: tuple[Match, ...]


class Sighting(Struct, frozen=True, kw_only=True):
    """Somebody was seen by a camera or in a video."""

    number: int
    run: str
    source: str
    track: int
    time: datetime
    position: float | None
    identity: int | None
    name: str | None
    hidden: bool
    similarity: float | None
    quality: float | None
    box: Box | None
    shot: int | None


class Event(Struct, frozen=True, kw_only=True):
    """Something happened: a sighting, an alert, a camera that came or went."""

    id: int
    """Rises: the last one that was read is a cursor."""
    kind: str
    time: datetime
    source: str | None = None
    identity: int | None = None
    name: str | None = None
    visit: str | None = None
    sighting: dict[str, Any] | None = None
    alert: dict[str, Any] | None = None
    details: dict[str, Any] | None = None


class Camera(Struct, frozen=True, kw_only=True):
    """A camera of the server; its address without password."""

    id: int
    name: str
    address: str
    enabled: bool
    health: dict[str, Any]


class Job(Struct, frozen=True, kw_only=True):
    """Long work and how far it is."""

    id: int
    kind: str
    title: str
    state: str
    seen: int
    total: int | None
    counts: dict[str, int]
    note: str
    error: str | None

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.state in ("done", "failed", "cancelled")
