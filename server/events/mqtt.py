"""Tells an MQTT broker of events, behind a cursor: what happens while the broker is away is told when it is back."""

from __future__ import annotations

import logging
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Sequence

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from vultus.configs.serving import Mqtt as Rules
from vultus.index.errors import GalleryError, UnknownIdentity
from vultus.index.gallery import Gallery
from vultus.index.veil import Veil
from vultus.server.events.feed import Feed
from vultus.server.events.log import EventLog
from vultus.server.events.rulebook import Rulebook
from vultus.server.events.shapes import Event
from vultus.server.events.topics import Message, Topics
from vultus.server.problems import Problem
from vultus.server.store import Store

_log = logging.getLogger("vultus.server")

_CURSOR = "mqtt"
_AT_ONCE = 100
"""Events that are on their way at the same time; the cursor moves when the broker has confirmed them all."""
_KEEPALIVE = 30
_PAUSES = (1, 30)
"""Seconds between attempts to connect: the first and the longest."""
_ANEW = 1.0
"""Seconds before another attempt after an error of ours."""
_TIDY_EVERY = 300.0
"""Seconds after which it is looked whether people whom the broker keeps something of are still there."""
_FAREWELL = 2.0
"""Seconds that the broker has at the end to confirm what is on the way, and then that the server is offline."""


class Trouble(Struct, frozen=True):
    """Why the broker was not there."""

    at: float
    reason: str


class Mqtt:
    """A client between `open` and `close`; nothing happens without a host."""

    def __init__(
        self,
        rules: Rules,
        store: Store,
        gallery: Gallery,
        log: EventLog,
        feed: Feed,
        rulebook: Rulebook,
        veil: Veil,
        name: str,
    ) -> None:
        self._rules, self._store, self._gallery, self._events = rules, store, gallery, log
        self._feed, self._rulebook, self._veil = feed, rulebook, veil
        self.topics = Topics(rules.prefix, rules.discovery, name, faces=rules.faces)
        self._news = threading.Event()
        self._ended = False
        self.since: float | None = None
        """From when on, in seconds since the epoch; none while it is away."""
        self.trouble: Trouble | None = None
        """The last one; it stays when the broker is back."""
        self._confirmed: set[int] = set()
        self._announced: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"vultus-{name}")

    def open(self) -> None:
        """Begin to connect; who does not answer is tried for ever."""
        rules, client = self._rules, self._client
        if rules.host is None:
            return
        with self._store.write() as connection:
            connection.execute(
                "INSERT INTO cursors VALUES (?, ?) ON CONFLICT DO NOTHING", (_CURSOR, self._events.newest)
            )
        client.will_set(self.topics.status, b"offline", qos=1, retain=True)
        if rules.user is not None:
            client.username_pw_set(rules.user, rules.password)
        if rules.tls:
            client.tls_set_context(ssl.create_default_context(cafile=rules.ca_file))
        client.reconnect_delay_set(*_PAUSES)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.connect_async(rules.host, rules.port, _KEEPALIVE)
        client.loop_start()
        self._thread.start()

    def close(self) -> None:
        """Say farewell, and end."""
        self._ended = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        if self.connected:
            farewell = self._client.publish(self.topics.status, b"offline", qos=1, retain=True)
            try:
                farewell.wait_for_publish(_FAREWELL)
            except (ValueError, RuntimeError) as error:
                _log.debug("mqtt: %s", error)
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its last sockets when it is collected, which a circle of references would put off.
        self._client.on_connect = self._client.on_connect_fail = None
        self._client.on_disconnect = self._client.on_publish = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self.since is not None

    @property
    def waiting(self) -> int:
        """Events that the broker has not been told of, counted up to 10,000."""
        with self._store.read() as connection:
            row = connection.execute("SELECT position FROM cursors WHERE name = ?", (_CURSOR,)).fetchone()
        return 0 if row is None or self._rules.host is None else self._events.count(row[0], 10_000)

    # In paho's thread

    def _on_connect(
        self, client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _: object
    ) -> None:
        if reason.is_failure:
            self._troubled(f"the broker refuses: {reason}")
            return
        self.since = time.time()
        _log.info("mqtt: connected")
        client.publish(self.topics.status, b"online", qos=1, retain=True)
        self._news.set()

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _: object
    ) -> None:
        if self.connected and not self._ended:
            self._troubled(f"the broker is gone: {reason}")
        self.since = None

    def _on_connect_fail(self, _client: paho.Client, _userdata: object) -> None:
        self._troubled(f"no connection: {sys.exception()}")  # paho calls this while it handles the OSError

    def _troubled(self, reason: str) -> None:
        """Keep the reason; the log is told of each once, not at every attempt."""
        if self.connected or self.trouble is None or self.trouble.reason != reason:
            _log.warning("mqtt: %s; what happens is told when it is back", reason)
        self.trouble = Trouble(time.time(), reason)

    def _on_publish(self, _client: paho.Client, _userdata: object, number: int, _reason: ReasonCode, _: object) -> None:
        self._confirmed.add(number)
        self._news.set()

    # In our own

    def _run(self) -> None:
        tidy_at = 0.0
        with self._events.followed(self._news):
            while True:
                self._news.clear()
                if self._ended:
                    return
                try:
                    if self.connected and time.monotonic() >= tidy_at:
                        tidy_at = time.monotonic() + _TIDY_EVERY
                        self._tidy()
                    moved = self.connected and self._step()
                except (GalleryError, OSError, sqlite3.Error) as error:
                    _log.warning("mqtt: events have to wait: %s", error)
                    moved = False
                    self._news.wait(_ANEW)
                if not moved:
                    self._news.wait(_TIDY_EVERY)

    def _step(self) -> bool:
        """Tell the next events; whether there were any and all are with the broker."""
        with self._store.read() as connection:
            (cursor,) = connection.execute("SELECT position FROM cursors WHERE name = ?", (_CURSOR,)).fetchone()
        if cursor == self._events.newest:
            return False
        told = self._feed.after(cursor, _AT_ONCE)
        reached = told.reached
        if not told.follows(cursor):
            _log.warning("mqtt: events after %d were deleted before the broker got them", cursor)
            if not told.events:
                reached = told.newest
        messages: list[Message] = []
        for event in told.events:
            messages += self._messages(event)
        if not self._publish(messages):
            return False
        with self._store.write() as connection:
            connection.execute("UPDATE cursors SET position = ? WHERE name = ?", (reached, _CURSOR))
            _remember(connection, messages)
        return True

    def _messages(self, event: Event) -> list[Message]:
        if event.alert is not None and not self._wanted(event.alert.rule):
            return []
        messages = self.topics.messages(event, time.time())
        source = event.source
        if source is None or event.kind not in ("camera", "sighting"):
            return messages
        if event.kind == "camera" and event.details is not None and event.details.get("state") == "removed":
            self._announced.discard(source)
            return messages
        live = event.sighting is None or event.sighting.position is None
        if live and source not in self._announced:
            self._announced.add(source)
            messages = self.topics.discovery(source) + messages
        if live and event.sighting is not None and self._rules.faces and not self._veil.over(event.name):
            shots = self._gallery.shots(event.sighting.number)
            messages += [self.topics.face(event, shot.jpeg) for shot in shots[:1]]
        return messages

    def _wanted(self, rule: int) -> bool:
        try:
            return self._rulebook.get(rule).rule.mqtt
        except Problem:
            return True  # a rule that is gone by now

    def _publish(self, messages: Sequence[Message]) -> bool:
        """Hand messages to the broker and wait until it has confirmed them; false if the server ends before.

        If the connection breaks, paho sends what was not confirmed again once it is back.
        """
        self._confirmed.clear()
        waited = {self._client.publish(one.topic, one.payload, qos=1, retain=one.retain).mid for one in messages}
        until = None
        while not waited <= self._confirmed:
            if self._ended:
                until = time.monotonic() + _FAREWELL if until is None else until
                if not self.connected or time.monotonic() > until:
                    break
            self._news.wait(0.1 if self._ended else 1.0)
            self._news.clear()
        self._news.set()  # events, or the end, may have come meanwhile
        return waited <= self._confirmed

    def _tidy(self) -> None:
        """Delete what the broker keeps of people who were deleted or hidden since."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT topic, identity FROM mqtt_retained").fetchall()
        gone = {identity for identity in {row[1] for row in rows} if not self._to_be_told(identity)}
        messages = [Message(topic=topic, payload=b"", retain=True) for topic, identity in rows if identity in gone]
        if messages and self._publish(messages):
            with self._store.write() as connection:
                _remember(connection, messages)

    def _to_be_told(self, identity: int) -> bool:
        try:
            return not self._gallery.identity(identity).hidden
        except UnknownIdentity:
            return False


def _remember(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
    """Keep in mind which retained topics are about whom."""
    for one in messages:
        if not one.retain:
            continue
        if one.identity is None:
            connection.execute("DELETE FROM mqtt_retained WHERE topic = ?", (one.topic,))
        else:
            connection.execute("INSERT OR REPLACE INTO mqtt_retained VALUES (?, ?)", (one.topic, one.identity))
