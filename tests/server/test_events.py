"""The event log: what the gallery's sightings become, how it is read, and how it is listened to."""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from vultus.configs.serving import Events as Rules
from vultus.index.gallery import Gallery
from vultus.index.types import Sighting
from vultus.server.cameras.changes import CameraChange, WorkerChange
from vultus.server.events.cameras import CameraEvents
from vultus.server.events.log import EventLog, New, Wanted
from vultus.server.services import Services
from vultus.server.store import Store


def seen(gallery: Gallery, source: str = "door", *, track: int = 1, run: str | None = None, **other: Any) -> int:
    """Let somebody be seen; returns the number of the sighting."""
    return gallery.add_sighting(
        Sighting(
            run=run or secrets.token_hex(4), source=source, track=track, time=time.time(), box=(1, 2, 30, 40), **other
        )
    )


def until(client: httpx.Client, after: int, count: int, **parameters: Any) -> list[dict[str, Any]]:
    """Ask for events after a cursor until there are so many."""
    found: list[dict[str, Any]] = []
    ends = time.monotonic() + 10
    while len(found) < count and time.monotonic() < ends:
        answer = client.get("/api/v1/events", params={"after": after, **parameters}).raise_for_status().json()
        found += answer["items"]
        after = answer["next"]
        time.sleep(0.02)
    return found


class Stream:
    """Reads server-sent events as a browser does."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.cursor = ""

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event with data: its kind and that."""
        kind, data = "message", ""
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                self.cursor = value
            elif name == "event":
                kind = value
            elif name == "data":
                data = value
            elif not line and data:
                return kind, json.loads(data)
        raise EOFError


@contextmanager
def listening(client: httpx.Client, cursor: str | None = None, **parameters: Any) -> Iterator[Stream]:
    headers = {} if cursor is None else {"Last-Event-ID": cursor}
    with client.stream("GET", "/api/v1/events/stream", params=parameters, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines).startswith("retry")
        stream = Stream(lines)
        stream.cursor = next(lines).removeprefix("id: ")
        yield stream


def test_a_sighting_becomes_an_event_and_a_later_decision_an_update(client: httpx.Client, services: Services) -> None:
    cursor = services.events.newest
    person = services.gallery.identities()[0]
    first = seen(services.gallery, run="r", track=7)
    (one,) = until(client, cursor, 1)
    assert one["kind"] == "sighting"
    assert one["source"] == "door"
    assert one["identity"] is None
    assert one["sighting"]["number"] == first
    assert not one["sighting"]["update"]
    assert not one["sighting"]["known"]
    seen(services.gallery, run="r", track=7, identity=person.id, similarity=0.7)
    (again,) = until(client, one["id"], 1)
    assert again["id"] > one["id"]
    assert again["visit"] == one["visit"]
    assert again["sighting"]["update"]
    assert again["sighting"]["known"]
    assert (again["identity"], again["name"]) == (person.id, person.name)


def test_events_come_quickly(client: httpx.Client, services: Services) -> None:
    with listening(client) as stream:
        waits = []
        for _ in range(3):
            seen(services.gallery)
            begun = time.monotonic()
            stream.next()
            waits.append(time.monotonic() - begun)
    assert min(waits) < 0.5


def test_filters_hold_for_pages_and_for_the_stream(client: httpx.Client, services: Services) -> None:
    cursor = services.events.newest
    person = services.gallery.identities()[1]
    services.events.append("camera", source="yard", details={"state": "lost"})
    with listening(client, after=cursor, source="yard", kind="sighting") as stream:
        seen(services.gallery, "door", identity=person.id)
        wanted = seen(services.gallery, "yard")
        assert stream.next()[1]["sighting"]["number"] == wanted
    assert len(until(client, cursor, 3)) == 3
    assert [one["source"] for one in until(client, cursor, 1, person=person.id)] == ["door"]
    assert [one["details"] for one in until(client, cursor, 1, kind="camera")] == [{"state": "lost"}]
    newest = client.get("/api/v1/events", params={"order": "newest", "limit": 2}).json()
    assert newest["items"][0]["id"] == services.events.newest
    assert newest["more"]
    back = client.get("/api/v1/events", params={"order": "newest", "before": newest["next"], "limit": 1}).json()
    assert back["items"][0]["id"] == newest["next"] - 1


def test_who_comes_back_with_the_cursor_misses_nothing(client: httpx.Client, services: Services) -> None:
    with listening(client) as stream:
        seen(services.gallery, "first")
        stream.next()
        cursor = stream.cursor
    missed = [seen(services.gallery, f"camera {number}") for number in range(5)]
    with listening(client, cursor) as stream:
        assert [stream.next()[1]["sighting"]["number"] for _ in missed] == missed
        live = seen(services.gallery, "live")
        assert stream.next()[1]["sighting"]["number"] == live


def test_names_are_those_of_now_and_nothing_is_told_of_hidden_people(client: httpx.Client, services: Services) -> None:
    cursor = services.events.newest
    gallery = services.gallery
    person = gallery.identities()[2]
    seen(gallery, identity=person.id)
    assert until(client, cursor, 1)[0]["name"] == person.name
    gallery.rename(person.id, "Somebody Else")
    assert until(client, cursor, 1)[0]["name"] == "Somebody Else"
    gallery.hide(person.id)
    seen(gallery, identity=person.id)
    other = seen(gallery)
    assert [one["sighting"]["number"] for one in until(client, cursor, 1)] == [other]
    gallery.hide(person.id, False)
    gallery.remove_identity(person.id)
    assert [one["name"] for one in until(client, cursor, 2)] == [None, None]
    with services.store.read() as connection:
        stored = b"".join(row[0] for row in connection.execute("SELECT payload FROM events"))
    assert b"Somebody" not in stored


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"after": 10**12}, 410),
        ({"after": -1}, 422),
        ({"after": 2**63}, 422),
        ({"kind": "nonsense"}, 422),
        ({"before": 3}, 422),
        ({"order": "newest", "after": 3}, 422),
        ({"limit": 0}, 422),
    ],
)
def test_wrong_questions_are_problems(client: httpx.Client, parameters: dict[str, Any], status: int) -> None:
    answer = client.get("/api/v1/events", params=parameters)
    assert answer.status_code == status
    assert answer.json()["type"].startswith("urn:vultus:")


def test_a_cursor_of_another_log_is_told_of_the_gap(client: httpx.Client, services: Services) -> None:
    with listening(client, str(10**9)) as stream:
        kind, data = stream.next()
        assert kind == "gap"
        assert data["newest"] == services.events.newest
        assert stream.next()[1]["id"] == data["oldest"]


def test_the_log_is_bounded_and_numbers_are_never_used_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    log = EventLog(store, Rules(keep=1000, keep_days=1.0))
    with store.write() as connection:
        for _ in range(1200):
            log.add(connection, New(kind="job", payload={}))
    assert log.prune() == 200
    assert log.span() == (201, 1200)
    assert log.prune(time.time() + 2 * 86_400) == 1000
    assert log.span() == (1201, 1200)
    assert log.append("job") == 1201
    assert log.after(0, 10, Wanted(kinds=("alert",))).reached == 1201
    store.close()


def test_what_was_seen_while_the_server_was_away_is_told(services: Services) -> None:
    """The pump goes on after its own cursor; two pumps on one log tell everything once."""
    from vultus.server.events.pump import Pump

    numbers = [seen(services.gallery, f"while away {number}") for number in range(50)]
    first, second = (Pump(services.gallery, services.store, services.events, services.rules.alerts) for _ in range(2))
    threads = [threading.Thread(target=pump.step) for pump in (first, second, first)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = []
    cursor = 0
    while found := services.feed.after(cursor, 500):
        told += [one.sighting.number for one in found.events if one.sighting and "away" in str(one.source)]
        cursor = found.reached
        if not found.more:
            break
    assert sorted(told) == numbers


def test_a_camera_is_told_of_when_it_changes_and_not_at_each_attempt(tmp_path: Path) -> None:
    def change(state: Any, **other: Any) -> CameraChange:
        return CameraChange(at=time.time(), camera=3, name="door", state=state, **other)

    store = Store(tmp_path)
    log = EventLog(store, Rules())
    cameras = CameraEvents(store, log)
    cameras.open()
    for told in (
        change("connected", reason="640×480", size=(640, 480)),
        WorkerChange(at=1.0, state="died", worker="people[0]"),
        change("lost", reason="timeout", retry_in=1.0),
        change("lost", reason="timeout", retry_in=2.0),
        change("connected", reason="640×480", size=(640, 480)),
    ):
        cameras.changed(told)
    cameras.close()
    rows = log.after(0, 10).rows
    assert [json.loads(row.payload)["details"]["state"] for row in rows] == ["connected", "lost", "connected"]
    assert {(row.kind, row.source) for row in rows} == {("camera", "door")}
    again = CameraEvents(store, log)
    again.open()
    assert again.size("door") == (640, 480)
    assert again.size("yard") is None
    again.close()
    store.close()
