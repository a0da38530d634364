"""An event as everybody outside is told of it: the same JSON in answers, streams, webhooks and MQTT."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from pydantic import Field

from vultus.server.events.log import Kind, Row
from vultus.server.schemas import Box, Schema, Similarity, moment

Severity = Literal["info", "warning", "critical"]


class Seen(Schema):
    """Somebody who was seen."""

    number: int
    """Of the sighting in the gallery. An update of the visit gives it another one."""
    update: bool
    """Whether this visit was told before: it says more now (recognised after all, a clearer look)."""
    known: bool
    """Whether it was somebody with a name when it was told."""
    time: datetime
    position: float | None
    """Seconds from the start of a video file."""
    similarity: Similarity | None
    quality: float | None
    box: Box | None
    """x, y, width, height in pixels of the source's picture."""


class Alert(Schema):
    """A rule that matched a sighting."""

    rule: int
    title: str
    severity: Severity


class Event(Schema):
    """Something that happened."""

    id: int = Field(ge=1)
    """The cursor: rises, and is never used again."""
    kind: Kind
    time: datetime
    source: str | None
    """Camera or file."""
    identity: int | None
    """The person, also one without a name."""
    name: str | None
    """What the person is called now; none for an unknown person, and once the person is deleted."""
    visit: str | None
    """The same for all events of one visit: somebody who crossed the picture once."""
    sighting: Seen | None = None
    """Of a sighting and an alert."""
    alert: Alert | None = None
    details: dict[str, Any] | None = None
    """Of other kinds."""


def event(row: Row, name: str | None) -> Event:
    """A row of the log with the name that its person has now."""
    return Event(
        id=row.id,
        kind=row.kind,
        time=moment(row.time),
        source=row.source,
        identity=row.identity,
        name=name,
        visit=row.visit,
        **msgspec.json.decode(row.payload),
    )
