"""MQTT: whether the broker is there, and what it is told."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from vultus.server.access import allowed
from vultus.server.schemas import Schema, moment
from vultus.server.services import Here

router = APIRouter(prefix="/mqtt", tags=["events"], dependencies=[allowed("admin", "events")])


class Trouble(Schema):
    """Why the broker was not there."""

    at: datetime
    reason: str


class Topic(Schema):
    """What a camera's events are told under."""

    source: str
    topics: list[str]


class Mqtt(Schema):
    """The broker, as the configuration has it and as it is."""

    host: str | None
    """None: no MQTT (`serve.mqtt.host`)."""
    port: int
    tls: bool
    user: str | None
    prefix: str
    discovery: str | None
    """Prefix under which Home Assistant looks; none: it is told of no devices."""
    faces: bool
    """Whether the broker gets pictures of faces."""
    connected: bool
    since: datetime | None
    """From when on it is connected."""
    trouble: Trouble | None
    """The last one; it stays when the broker is back."""
    waiting: int
    """Events that it has not been told of; counted up to 10,000."""
    topics: list[str]
    """Those that belong to no camera; `+` stands for the number of a person."""
    cameras: list[Topic]


@router.get("")
def mqtt(here: Here) -> Mqtt:
    """Whether the broker is there, since when, the last trouble, and which topics it gets; settings are `serve.mqtt`."""
    rules, now = here.config.serve.mqtt, here.mqtt
    return Mqtt(
        host=rules.host,
        port=rules.port,
        tls=rules.tls,
        user=rules.user,
        prefix=rules.prefix,
        discovery=rules.discovery,
        faces=rules.faces,
        connected=now.connected,
        since=moment(now.since),
        trouble=None if now.trouble is None else Trouble(at=moment(now.trouble.at), reason=now.trouble.reason),
        waiting=now.waiting,
        topics=now.topics.general(),
        cameras=[Topic(source=one.name, topics=now.topics.of_camera(one.name)) for one in here.cameras.all()],
    )
