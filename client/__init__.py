"""A client of `vultus serve`: search, people, sightings, events, cameras and jobs from Python; see docs/client.md."""

from vultus.client.client import Client
from vultus.client.errors import Refused, Unreachable
from vultus.client.shapes import (
    Camera,
    Event,
    Face,
    FoundFace,
    Job,
    Match,
    Near,
    Person,
    SearchedFace,
    Sighting,
    Unknown,
)

__all__ = [
    "Camera",
    "Client",
    "Event",
    "Face",
    "FoundFace",
    "Job",
    "Match",
    "Near",
    "Person",
    "Refused",
    "SearchedFace",
    "Sighting",
    "Unknown",
    "Unreachable",
]
