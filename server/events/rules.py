"""Rules: which sightings raise an alert."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from vultus.index.types import Sighting
from vultus.server.events.shapes import Severity
from vultus.server.schemas import Schema

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Weekday = Annotated[int, Field(ge=0, le=6)]
Source = Annotated[str, Field(min_length=1, max_length=4096)]
Number = Annotated[int, Field(ge=1, le=2**53 - 1)]
Who = Literal["anybody", "known", "unknown", "people"]


class Hours(Schema):
    """A part of the week."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = (0, 1, 2, 3, 4, 5, 6)
    """Weekdays on which it begins, Monday is 0."""
    start: Clock = "00:00"
    end: Clock = "00:00"
    """Not later than `start`: on the next day. The same: a whole day."""

    def cover(self, when: datetime) -> bool:
        """Whether it is then, by that clock."""
        now = when.strftime("%H:%M")
        if self.start < self.end:
            return self.start <= now < self.end and when.weekday() in self.days
        yesterday = (when - timedelta(days=1)).weekday()
        return (now >= self.start and when.weekday() in self.days) or (now < self.end and yesterday in self.days)


class RuleNew(Schema):
    """What raises an alert. Whatever is stated must all hold."""

    title: Text
    enabled: bool = True
    severity: Severity = "warning"
    who: Who = "anybody"
    """`known`: anybody with a name; `unknown`: anybody without; `people`: those of `people`."""
    people: Annotated[tuple[Number, ...], Field(max_length=1000)] = ()
    """People by number, also ones without a name."""
    sources: Annotated[tuple[Source, ...], Field(max_length=1000)] = ()
    """Cameras and files; empty: all."""
    zone: Annotated[tuple[tuple[Share, Share], ...], Field(min_length=3, max_length=64)] | None = None
    """A polygon in which the middle of the face must be, in shares of width and height from the upper left; of one camera."""
    hours: Annotated[tuple[Hours, ...], Field(max_length=21)] = ()
    """Empty: always."""
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """Of the hours, like Europe/Berlin."""
    min_similarity: Share | None = None
    """Of people with a name: how similar the face must be."""
    min_quality: Share | None = None
    cooldown: Annotated[float, Field(ge=0.0, le=86_400.0)] = 60.0
    """Seconds in which the same person before the same camera raises no second alert; strangers who could not be told apart
    count as one person. A visit raises one alert of a rule at most."""
    mqtt: bool = True
    """Whether its alerts go to MQTT, if that is configured. Webhooks choose by themselves (`rules` of a webhook)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.who == "people") != bool(self.people):
            raise ValueError("`people` are stated if, and only if, `who` is people")
        if self.zone is not None and len(self.sources) != 1:
            raise ValueError("a zone is of one camera: state exactly one in `sources`")
        _zone_of(self.timezone)
        return self

    def cover(self, sighting: Sighting, size: tuple[int, int] | None) -> bool | None:
        """Whether a sighting matches, cooldown aside; none if only the picture's `size` (width, height) would tell."""
        wanted = {
            "anybody": True,
            "known": sighting.name is not None,
            "unknown": sighting.name is None,
            "people": sighting.identity is not None and sighting.identity in self.people,
        }[self.who]
        if not wanted or (self.sources and sighting.source not in self.sources):
            return False
        if sighting.name is not None and not _reaches(sighting.similarity, self.min_similarity):
            return False
        if not _reaches(sighting.quality, self.min_quality):
            return False
        if self.hours:
            when = datetime.fromtimestamp(sighting.time, _zone_of(self.timezone))
            if not any(hours.cover(when) for hours in self.hours):
                return False
        if self.zone is None:
            return True
        if size is None or sighting.box is None:
            return None
        x, y, width, height = sighting.box
        return inside((x + width / 2) / size[0], (y + height / 2) / size[1], self.zone)


def _reaches(value: float | None, least: float | None) -> bool:
    return least is None or (value is not None and value >= least)


def inside(x: float, y: float, polygon: Sequence[tuple[float, float]]) -> bool:
    """Whether a point lies in a polygon, by the even-odd rule."""
    within = False
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            within = not within
    return within


@lru_cache(maxsize=1000)
def _known(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def _zone_of(name: str) -> ZoneInfo:
    zone = _known(name) if len(name) <= 64 else None
    if zone is None:
        raise ValueError(f"{name!r} is no time zone that this machine knows, like Europe/Berlin")
    return zone


UNKNOWN = RuleNew(title="Unknown person", who="unknown", severity="warning", cooldown=300.0)
"""Alerts on strangers, made by one click."""
