"""What a broker is told: topics and messages, Home Assistant's among them. Nothing here sends."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from typing import get_args

import msgspec
from msgspec import Struct

from vultus.server.events.log import Kind
from vultus.server.events.shapes import Event

_PRESENT = 30
"""Seconds after a sighting for which somebody counts as there."""
_FRESH = 60.0
"""Seconds after which a sighting says nothing about who is there now."""


class Message(Struct, frozen=True, kw_only=True):
    """Something to be published."""

    topic: str
    payload: bytes
    """Empty and retained: what the broker kept is deleted."""
    retain: bool = False
    identity: int | None = None
    """Of what is retained: the person whom it is about, so that it goes with that person."""


def slug(source: str) -> str:
    """A camera's name as a level of a topic: unlike names get unlike ones."""
    plain = re.sub(r"[^a-z0-9_-]+", "_", source.lower()).strip("_")[:40]
    if plain == source:
        return plain
    return f"{plain or 'source'}_{hashlib.blake2b(source.encode('utf-8', 'surrogatepass'), digest_size=3).hexdigest()}"


class Topics:
    """Makes messages of events. `name` tells servers apart in Home Assistant."""

    def __init__(self, prefix: str, discovery: str | None, name: str, *, faces: bool) -> None:
        self._prefix, self._discovery, self._name, self._faces = prefix, discovery, name, faces
        self.status = f"{prefix}/status"
        """`online` or `offline`, retained; the broker says the latter if the server is gone."""

    def camera(self, source: str, what: str) -> str:
        """A topic of a camera."""
        return f"{self._prefix}/cameras/{slug(source)}/{what}"

    def general(self) -> list[str]:
        """The topics that belong to no camera; that of people once for all of them."""
        kinds = [f"{self._prefix}/{kind}" for kind in get_args(Kind)]
        return [self.status, *kinds, f"{self._prefix}/people/+"]

    def of_camera(self, source: str) -> list[str]:
        """All topics of a camera."""
        whats = ["state", "person", "presence", "unknown", *(["face"] if self._faces else [])]
        found = [self.camera(source, what) for what in whats]
        return found if self._discovery is None else [*found, self._discovered(source)]

    def messages(self, event: Event, now: float) -> list[Message]:
        """What an event tells the broker; `now` in seconds since the epoch."""
        told = [Message(topic=f"{self._prefix}/{event.kind}", payload=event.model_dump_json().encode())]
        if event.kind == "sighting" and event.source is not None and event.sighting is not None:
            told += self._seen(event, event.source, now)
        if event.kind == "camera" and event.source is not None and event.details is not None:
            state = str(event.details.get("state", ""))
            if state == "removed":
                return told + self.forgotten(event.source)
            told.append(Message(topic=self.camera(event.source, "state"), payload=state.encode(), retain=True))
        return told

    def _seen(self, event: Event, source: str, now: float) -> list[Message]:
        assert event.sighting is not None
        who = {"identity": event.identity, "name": event.name, "known": event.sighting.known}
        when = {"source": source, "time": event.model_dump(mode="json")["time"]}
        told = []
        if event.sighting.position is None:
            last = msgspec.json.encode(who | when)
            told.append(
                Message(topic=self.camera(source, "person"), payload=last, retain=True, identity=event.identity)
            )
            if now - event.time.timestamp() < _FRESH:
                told.append(Message(topic=self.camera(source, "presence"), payload=b"ON"))
                if not event.sighting.known:
                    told.append(Message(topic=self.camera(source, "unknown"), payload=b"ON"))
        if event.identity is not None and event.name is not None:
            seen = msgspec.json.encode(who | when)
            topic = f"{self._prefix}/people/{event.identity}"
            told.append(Message(topic=topic, payload=seen, retain=True, identity=event.identity))
        return told

    def face(self, event: Event, jpeg: bytes) -> Message:
        """The picture of the last face before a camera."""
        assert event.source is not None
        return Message(topic=self.camera(event.source, "face"), payload=jpeg, retain=True, identity=event.identity)

    def forgotten(self, source: str) -> list[Message]:
        """Deletes what the broker keeps of a camera."""
        topics = [self.camera(source, what) for what in ("state", "person", "face")]
        if self._discovery is not None:
            topics.append(self._discovered(source))
        return [Message(topic=topic, payload=b"", retain=True) for topic in topics]

    def discovery(self, source: str) -> list[Message]:
        """What makes a camera a device of Home Assistant (2024.11 or newer), if that is wanted."""
        if self._discovery is None:
            return []
        device = f"vultus_{self._name}_{slug(source)}"
        components: dict[str, dict[str, object]] = {
            "person": {
                "platform": "sensor",
                "name": "Last person",
                "icon": "mdi:account",
                "state_topic": self.camera(source, "person"),
                "value_template": "{{ value_json.name or 'unknown' }}",
                "json_attributes_topic": self.camera(source, "person"),
            },
            "seen": {
                "platform": "sensor",
                "name": "Last seen",
                "device_class": "timestamp",
                "state_topic": self.camera(source, "person"),
                "value_template": "{{ value_json.time }}",
            },
            "presence": {
                "platform": "binary_sensor",
                "name": "Somebody there",
                "device_class": "occupancy",
                "state_topic": self.camera(source, "presence"),
                "off_delay": _PRESENT,
            },
            "unknown": {
                "platform": "binary_sensor",
                "name": "Unknown person",
                "device_class": "problem",
                "state_topic": self.camera(source, "unknown"),
                "off_delay": _PRESENT,
            },
            "state": {
                "platform": "binary_sensor",
                "name": "Camera",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": self.camera(source, "state"),
                "value_template": "{{ 'ON' if value == 'connected' else 'OFF' }}",
            },
        }
        if self._faces:
            components["face"] = {
                "platform": "image",
                "name": "Last face",
                "image_topic": self.camera(source, "face"),
                "content_type": "image/jpeg",
            }
        for name, component in components.items():
            component["unique_id"] = f"{device}_{name}"
        told = {
            "device": {"identifiers": [device], "name": source, "manufacturer": "vultus", "model": "camera"},
            "origin": {"name": "vultus", "sw_version": version("vultus")},
            "availability": [{"topic": self.status}],
            "components": components,
            "qos": 1,
        }
        return [Message(topic=self._discovered(source), payload=msgspec.json.encode(told), retain=True)]

    def _discovered(self, source: str) -> str:
        return f"{self._discovery}/device/vultus_{self._name}_{slug(source)}/config"
