"""Rules: which sightings raise alerts, and when not."""

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from vultus.index.types import Sighting
from vultus.server.events.rules import Hours, RuleNew, inside
from vultus.server.services import Services

SQUARE = [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5)]


def sighting(**other: Any) -> Sighting:
    return Sighting(**{"run": "r", "source": "door", "track": 1, "time": 0.0, "box": (100, 100, 40, 60)} | other)


def rule(**other: Any) -> RuleNew:
    return RuleNew(**{"title": "t"} | other)


@pytest.mark.parametrize(
    ("stated", "seen", "covers"),
    [
        ({}, {}, True),
        ({"who": "known"}, {}, False),
        ({"who": "known"}, {"identity": 3, "name": "Ada"}, True),
        ({"who": "unknown"}, {"identity": 3, "name": "Ada"}, False),
        ({"who": "unknown"}, {"identity": 9}, True),
        ({"who": "people", "people": [3, 4]}, {"identity": 3, "name": "Ada"}, True),
        ({"who": "people", "people": [4]}, {"identity": 3, "name": "Ada"}, False),
        ({"who": "people", "people": [4]}, {}, False),
        ({"sources": ["yard"]}, {}, False),
        ({"sources": ["yard", "door"]}, {}, True),
        ({"min_similarity": 0.5}, {"identity": 3, "name": "Ada", "similarity": 0.4}, False),
        ({"min_similarity": 0.5}, {"identity": 3, "name": "Ada", "similarity": 0.5}, True),
        ({"min_similarity": 0.5}, {"similarity": 0.1}, True),
        ({"min_quality": 0.5}, {"quality": None}, False),
        ({"min_quality": 0.5}, {"quality": 0.6}, True),
        ({"sources": ["door"], "zone": SQUARE}, {}, True),
        ({"sources": ["door"], "zone": SQUARE}, {"box": (600, 100, 40, 60)}, False),
        ({"sources": ["door"], "zone": SQUARE}, {"box": None}, None),
    ],
)
def test_all_that_a_rule_states_must_hold(stated: dict[str, Any], seen: dict[str, Any], covers: bool | None) -> None:
    assert rule(**stated).cover(sighting(**seen), (1000, 500)) is covers


def test_a_zone_needs_the_size_of_the_picture() -> None:
    assert rule(sources=["door"], zone=SQUARE).cover(sighting(), None) is None


def test_a_point_is_inside_of_a_polygon_that_bends() -> None:
    bent = [(0, 0), (1, 0), (1, 1), (0.5, 0.2), (0, 1)]
    assert inside(0.1, 0.5, bent)
    assert inside(0.9, 0.5, bent)
    assert not inside(0.5, 0.5, bent)


@pytest.mark.parametrize(
    ("hours", "when", "covers"),
    [
        ({"start": "08:00", "end": "17:30"}, "2026-11-23 07:59", False),  # a Monday
        ({"start": "08:00", "end": "17:30"}, "2026-11-23 08:00", True),
        ({"start": "08:00", "end": "17:30"}, "2026-11-23 17:30", False),
        ({"days": [0], "start": "22:00", "end": "06:00"}, "2026-11-23 23:00", True),
        ({"days": [0], "start": "22:00", "end": "06:00"}, "2026-11-24 05:59", True),
        ({"days": [0], "start": "22:00", "end": "06:00"}, "2026-11-23 05:00", False),
        ({"days": [0], "start": "22:00", "end": "06:00"}, "2026-11-24 22:00", False),
        ({"days": [5, 6]}, "2026-11-23 12:00", False),
        ({"days": [0]}, "2026-11-23 12:00", True),
        ({"days": [6], "start": "12:00", "end": "12:00"}, "2026-11-23 11:59", True),
    ],
)
def test_hours(hours: dict[str, Any], when: str, covers: bool) -> None:
    assert Hours(**hours).cover(datetime.fromisoformat(when)) is covers


def test_hours_are_those_of_the_time_zone() -> None:
    at = datetime(2026, 7, 1, 6, 30, tzinfo=UTC).timestamp()
    morning = [Hours(start="08:00", end="09:00")]
    assert rule(hours=morning, timezone="Europe/Berlin").cover(sighting(time=at), None)
    assert not rule(hours=morning).cover(sighting(time=at), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"who": "people"},
        {"people": [1]},
        {"zone": SQUARE},
        {"timezone": "../../etc/passwd"},
        {"timezone": "Mars/Olympus"},
        {"title": "a\nb"},
        {"hours": [{"start": "24:00"}]},
        {"cooldown": -1},
        {"sources": ["door"], "zone": [(0, 0), (1, 1)]},
        {"nonsense": 1},
    ],
)
def test_what_makes_no_rule_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**wrong)


@pytest.mark.slow
def test_a_rule_is_made_changed_tried_and_removed(client: httpx.Client) -> None:
    made = client.post("/api/v1/rules", json={"title": "Night", "who": "known"})
    assert made.status_code == 201
    where = made.headers["Location"]
    assert client.get(where).json() == made.json()
    assert client.post("/api/v1/rules", json={"title": "Night"}).status_code == 409
    changed = client.put(where, json={"title": "Late", "enabled": False}).json()
    assert (changed["title"], changed["who"], changed["id"]) == ("Late", "anybody", made.json()["id"])
    assert [one["title"] for one in client.get("/api/v1/rules").json()["items"]] == ["Late"]
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404
    assert client.put(where, json={"title": "x"}).status_code == 404
    assert client.delete(where).status_code == 404


def test_strangers_raise_alerts_by_one_click(client: httpx.Client, services: Services) -> None:
    gallery, now = services.gallery, time.time()

    def seen(track: int, at: float, **other: Any) -> None:
        gallery.add_sighting(sighting(track=track, time=now + at, **other))

    cursor = services.events.newest
    seen(1, -1000)
    wait(services, gallery.sightings()[-1].id)
    made = client.post("/api/v1/rules/unknown")
    assert made.status_code == 201
    assert client.post("/api/v1/rules/unknown").status_code == 200
    person = gallery.identities()[0]
    seen(2, 0)
    seen(2, 0.2)  # the same visit says more
    seen(3, 100)  # within the cooldown
    seen(4, 200, source="yard")  # another camera
    seen(5, 250, identity=person.id)  # somebody with a name
    seen(6, 400)
    wait(services, gallery.sightings()[-1].id)
    alerts = [one for one in services.feed.after(cursor, 100).events if one.kind == "alert"]
    assert [round(one.time.timestamp() - now) for one in alerts] == [0, 200, 400]
    assert {(one.alert.title, one.alert.severity) for one in alerts if one.alert} == {("Unknown person", "warning")}
    assert all(one.visit and one.sighting for one in alerts)
    of_rule = client.get("/api/v1/events", params={"after": cursor, "kind": "alert", "rule": made.json()["id"]}).json()
    assert len(of_rule["items"]) == 3
    other = client.get("/api/v1/events", params={"after": cursor, "kind": "alert", "rule": 999}).json()
    assert other["items"] == []
    tried = client.post("/api/v1/rules/try", json={"title": "t", "who": "unknown", "cooldown": 300}).json()
    assert (tried["looked_at"], tried["matched"], tried["alerts"]) == (6, 5, 4)
    assert tried["items"][0]["alert"]


def wait(services: Services, number: int) -> None:
    """Until the pump has taken a sighting in."""
    ends = time.monotonic() + 10
    while services.pump.position < number and time.monotonic() < ends:
        time.sleep(0.02)
    assert services.pump.position >= number
