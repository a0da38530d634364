"""MQTT, with a real broker that is killed and started again."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as paho
import pytest
from broker import PASSWORD, USER, Broker
from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion

from vultus.configs.schema import Privacy
from vultus.configs.serving import Events as Rules
from vultus.configs.serving import Mqtt as Settings
from vultus.index.gallery import Gallery
from vultus.index.types import Shot, Sighting
from vultus.index.veil import Veil
from vultus.server.events.feed import Feed
from vultus.server.events.log import EventLog
from vultus.server.events.mqtt import Mqtt
from vultus.server.events.pump import Pump
from vultus.server.events.rulebook import Rulebook
from vultus.server.events.rules import RuleNew
from vultus.server.events.topics import slug
from vultus.server.store import Store


class Served:
    """The part of the server that tells a broker, over a gallery of one person."""

    def __init__(self, folder: Path, settings: Settings, opening: ExitStack) -> None:
        self.gallery = opening.enter_context(Gallery.open(folder / "gallery", model="m"))
        self.store = Store(folder / "server")
        opening.callback(self.store.close)
        self.log = EventLog(self.store, Rules())
        self.feed = Feed(self.gallery, self.log)
        self.rules = Rulebook(self.store, lambda _: None)
        veil = Veil(Privacy(veil=("Veiled",)))
        self.mqtt = Mqtt(settings, self.store, self.gallery, self.log, self.feed, self.rules, veil, "test")
        pump = Pump(self.gallery, self.store, self.log, self.rules.alerts)
        for part in (self.feed, self.mqtt, pump):
            opening.callback(part.close)
            part.open()

    def seen(self, source: str = "front door", identity: int | None = None, **other: Any) -> int:
        """Let somebody be seen; returns the number of the sighting."""
        run = str(time.monotonic_ns())
        sighting = Sighting(run=run, source=source, track=1, time=time.time(), identity=identity, **other)
        return self.gallery.add_sighting(sighting, [Shot(jpeg=b"a picture", time=1.0)])


@contextmanager
def serving(folder: Path, settings: Settings) -> Iterator[Served]:
    with ExitStack() as opening:
        yield Served(folder, settings, opening)


class Listener:
    """Somebody else at the broker, who comes back after a restart and hears what was published meanwhile."""

    def __init__(self, port: int, name: str = "listener") -> None:
        self.got: defaultdict[str, list[bytes]] = defaultdict(list)
        self._news = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.reconnect_delay_set(0, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._take("subscribed", b"")
        self._client.on_message = lambda _client, _data, message: self._take(message.topic, message.payload)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.wait("subscribed")

    def _take(self, topic: str, payload: bytes) -> None:
        with self._news:
            self.got[topic].append(payload)
            self._news.notify_all()

    def wait(self, topic: str, count: int = 1) -> list[bytes]:
        """What came of a topic, once there is so much."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.got[topic]) >= count, 20), (topic, dict(self.got))
            return list(self.got[topic])

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_connect = self._client.on_subscribe = self._client.on_message = None


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> Settings:
    name = tmp_path.name[-20:]
    return Settings(
        host="127.0.0.1", port=broker.port, user=USER, password=PASSWORD, faces=True,
        prefix=f"vultus/{name}", discovery=f"homeassistant/{name}",
    )  # fmt: skip


@contextmanager
def hearing(broker: Broker, name: str = "listener") -> Iterator[Listener]:
    listener = Listener(broker.port, name)
    try:
        yield listener
    finally:
        listener.close()


def numbers(payloads: list[bytes]) -> list[int]:
    return [json.loads(payload)["sighting"]["number"] for payload in payloads]


def test_cameras_people_and_alerts_are_told(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    at, door = settings.prefix, slug("front door")
    with hearing(broker) as heard, serving(tmp_path, settings) as served:
        assert heard.wait(f"{at}/status")[-1] == b"online"
        ada = served.gallery.enrol("Ada", np.eye(4)[:1])
        served.rules.add(RuleNew(title="Quiet", who="unknown", mqtt=False))
        served.rules.add(RuleNew(title="Loud", who="unknown"))
        first = served.seen(identity=ada, similarity=0.8)
        assert numbers(heard.wait(f"{at}/sighting")) == [first]
        seen = json.loads(heard.wait(f"{at}/cameras/{door}/person")[0])
        assert (seen["name"], seen["known"], seen["source"]) == ("Ada", True, "front door")
        assert json.loads(heard.wait(f"{at}/people/{ada}")[0])["source"] == "front door"
        assert heard.wait(f"{at}/cameras/{door}/presence") == [b"ON"]
        assert heard.wait(f"{at}/cameras/{door}/face") == [b"a picture"]
        served.seen()
        assert heard.wait(f"{at}/cameras/{door}/unknown") == [b"ON"]
        assert json.loads(heard.wait(f"{at}/alert")[0])["alert"]["title"] == "Loud"
        assert len(heard.got[f"{at}/alert"]) == 1
        served.seen("film.mkv", position=3.0)
        heard.wait(f"{at}/sighting", 3)
        assert f"{at}/cameras/{slug('film.mkv')}/person" not in heard.got
        served.log.append("camera", source="front door", details={"state": "lost"})
        assert heard.wait(f"{at}/cameras/{door}/state") == [b"lost"]
    with hearing(broker, "later") as heard:  # what the broker keeps
        assert heard.wait(f"{at}/status") == [b"offline"]
        assert json.loads(heard.wait(f"{at}/cameras/{door}/person")[0])["name"] is None
        assert f"{at}/sighting" not in heard.got


def test_home_assistant_gets_a_device_for_each_camera(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    door = slug("front door")
    where = f"{settings.discovery}/device/vultus_test_{door}/config"
    with hearing(broker) as heard, serving(tmp_path, settings) as served:
        served.seen()
        device = json.loads(heard.wait(where)[-1])
        assert device["device"]["name"] == "front door"
        assert device["availability"] == [{"topic": f"{settings.prefix}/status"}]
        told = {name: component["platform"] for name, component in device["components"].items()}
        assert told == {
            "person": "sensor", "seen": "sensor", "presence": "binary_sensor", "unknown": "binary_sensor",
            "state": "binary_sensor", "face": "image",
        }  # fmt: skip
        unique = {component["unique_id"] for component in device["components"].values()}
        assert len(unique) == len(told)
        count = len(heard.got[where])
        served.log.append("camera", source="front door", details={"state": "removed"})
        assert heard.wait(where, count + 1)[-1] == b""


@pytest.mark.slow
def test_what_happens_while_the_broker_is_away_is_told_when_it_is_back(
    broker: Broker, settings: Settings, tmp_path: Path
) -> None:
    with hearing(broker) as heard, serving(tmp_path, settings) as served:
        expected = [served.seen() for _ in range(3)]
        topic = f"{settings.prefix}/sighting"
        heard.wait(topic, 3)
        broker.kill()
        expected += [served.seen() for _ in range(150)]
        broker.start()
        heard.wait(topic, len(expected))
        ends = time.monotonic() + 10
        while set(numbers(heard.got[topic])) < set(expected) and time.monotonic() < ends:
            time.sleep(0.05)
        got = list(dict.fromkeys(numbers(heard.got[topic])))  # at least once
        assert got == expected
        assert heard.wait(f"{settings.prefix}/status", 2)[-1] == b"online"


def test_what_happens_while_the_server_is_away_is_told_when_it_is_back(
    broker: Broker, settings: Settings, tmp_path: Path
) -> None:
    topic = f"{settings.prefix}/sighting"
    with hearing(broker) as heard:
        with serving(tmp_path, settings) as served:
            first = served.seen()
            heard.wait(topic)
        with serving(tmp_path, replace(settings, host=None)) as served:
            second = served.seen()
            while served.log.newest < 2:
                time.sleep(0.01)
        with serving(tmp_path, settings) as served:
            heard.wait(topic, 2)
        assert numbers(heard.got[topic]) == [first, second]
        assert heard.wait(f"{settings.prefix}/status", 4) == [b"online", b"offline"] * 2


def test_nothing_stays_of_who_is_deleted_or_hidden(
    broker: Broker, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vultus.server.events.mqtt._TIDY_EVERY", 0.05)
    with hearing(broker) as heard, serving(tmp_path, settings) as served:
        ada, bob, veiled = (
            served.gallery.enrol(n, np.eye(4)[i : i + 1]) for i, n in enumerate(("Ada", "Bob", "Veiled"))
        )
        served.seen("a", ada)
        served.seen("b", bob)
        served.seen("c", veiled)
        topics = [f"{settings.prefix}/{what}" for what in (f"people/{ada}", f"people/{bob}", "cameras/a/face")]
        for topic in topics:
            heard.wait(topic)
        heard.wait(f"{settings.prefix}/people/{veiled}")
        assert f"{settings.prefix}/cameras/c/face" not in heard.got
        served.gallery.remove_identity(ada)
        served.gallery.hide(bob)
        for topic in topics:
            assert heard.wait(topic, 2)[-1] == b""
        assert len(heard.got[f"{settings.prefix}/people/{veiled}"]) == 1


@pytest.mark.slow
def test_a_wrong_password_is_said_once_and_nothing_is_lost(
    broker: Broker, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, replace(settings, password="wrong")) as served:
        number = served.seen()
        ends = time.monotonic() + 10
        while "refuses" not in caplog.text and time.monotonic() < ends:
            time.sleep(0.02)
        assert "the broker refuses" in caplog.text
        assert "wrong" not in caplog.text
        while served.log.newest < 1:
            time.sleep(0.01)
    with hearing(broker) as heard, serving(tmp_path, settings):
        assert numbers(heard.wait(f"{settings.prefix}/sighting")) == [number]


@pytest.mark.parametrize("name", ["front door", "Front Door", "front_door", "+/#", "Tür", "x" * 300])
def test_every_camera_has_a_topic_of_its_own(name: str) -> None:
    others = {"front door", "Front Door", "front_door", "+/#", "Tür", "x" * 300} - {name}
    assert slug(name) not in {slug(other) for other in others}
    assert slug(name).replace("_", "").replace("-", "").isalnum()
    assert slug(name).isascii()


def test_the_api_says_how_the_broker_is(client: httpx.Client) -> None:
    told = client.get("/api/v1/mqtt").json()
    assert (told["host"], told["connected"], told["trouble"], told["waiting"]) == (None, False, None, 0)
    assert {"vultus/status", "vultus/alert", "vultus/people/+"} <= set(told["topics"])
