"""Carries events to webhooks: each webhook in the order of the log, several webhooks at once."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import threading
import time

from msgspec import Struct

from vultus.configs.serving import Webhooks as Rules
from vultus.index.errors import GalleryError
from vultus.server.errors import VaultError
from vultus.server.events.feed import Feed, Listener
from vultus.server.events.posting import Answer, Line
from vultus.server.events.shapes import Event
from vultus.server.events.signing import signed
from vultus.server.events.webhooks import Webhooks
from vultus.server.problems import Problem

_log = logging.getLogger("vultus.server")

_IN_A_ROW = 20
"""Deliveries to one webhook before others that wait have their turn, and before they are noted: what a kill of the server
makes come twice."""
_LOOK_EVERY = 30.0
"""Seconds after which it looks for itself whether something is due."""


class _Batch(Struct, frozen=True):
    """What is to be delivered next to a webhook."""

    events: tuple[Event, ...]
    reached: int
    """The cursor after them."""
    again: bool
    """Whether it is a dead letter."""
    url: str
    secret: str


class Courier:
    """A thread with an event loop of its own, between `open` and `close`; a delivery that `close` cuts off is made again."""

    def __init__(self, feed: Feed, webhooks: Webhooks, rules: Rules, log_name: str) -> None:
        self._feed, self._webhooks, self._rules, self._name = feed, webhooks, rules, log_name
        self._ended = False
        self._listener: Listener | None = None
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._places = asyncio.Semaphore(rules.at_once)

    def open(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End what is under way."""
        self._ended = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Let it look whether there is something to do; from any thread."""
        listener = self._listener
        if listener is not None:
            listener.ring()

    async def ping(self, number: int) -> Answer:
        """Send a webhook a message of the type `ping`, once. Raises Problem (404)."""
        self._webhooks.get(number)
        url, secret = self._webhooks.reveal(number)
        now = time.time()
        body = b'{"type":"ping","timestamp":"%s","data":{}}' % _rfc3339(now).encode()
        headers = signed(secret, f"ping_{self._name}_{int(now * 1000)}", int(now), body)
        async with Line(url, self._rules) as line:
            answer = await line.post(body, headers)
        self._webhooks.remember(number, None, answer)
        return answer

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        running: dict[int, asyncio.Task[None]] = {}
        with self._feed.listening() as listener:
            self._listener = listener
            while not self._ended:
                running = {number: task for number, task in running.items() if not task.done()}
                try:
                    due = await asyncio.to_thread(self._webhooks.due)
                except sqlite3.Error as error:
                    _log.warning("webhooks have to wait: %s", error)
                    due = {}
                now = time.time()
                for number, at in due.items():
                    if at <= now and number not in running:
                        running[number] = asyncio.create_task(self._serve(number))
                        running[number].add_done_callback(lambda _: listener.ring())
                later = [at - now for number, at in due.items() if at > now]
                await listener.wait(min(later, default=_LOOK_EVERY))
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)

    async def _serve(self, number: int) -> None:
        """Deliver the next events of a webhook; those after them are due again at once."""
        async with self._places:
            try:
                batch = await asyncio.to_thread(self._next, number)
                if batch is None:
                    return
                taken: Event | None = None
                async with Line(batch.url, self._rules) as line:
                    for event in batch.events:
                        answer = await self._attempt(line, batch.secret, event)
                        self._webhooks.remember(number, event.id, answer)
                        if answer.outcome != "delivered":
                            break
                        taken = event
                await asyncio.to_thread(self._settle, number, batch, taken, answer)
            except Problem:
                return  # it was removed
            except (GalleryError, VaultError, KeyError, OSError, sqlite3.Error) as error:
                _log.warning("webhook %d has to wait: %s", number, error)
                await asyncio.sleep(self._rules.retry_first)

    def _next(self, number: int) -> _Batch | None:
        webhook = self._webhooks.get(number)
        if not webhook.enabled or webhook.due > time.time():
            return None
        url, secret = self._webhooks.reveal(number)
        while (dead := self._webhooks.next_dead(number)) is not None:
            found = self._feed.after(dead.event - 1, 1).events
            if found and found[0].id == dead.event:
                return _Batch(found, dead.event, True, url, secret)
            self._webhooks.tried_again(number, dead.event, None)
        cursor = webhook.cursor
        while True:
            told = self._feed.after(cursor, _IN_A_ROW, webhook.wanted)
            if not told.follows(cursor):
                missed = max(0, told.oldest - 1 - cursor)
                cursor = told.oldest - 1
                self._webhooks.passed(number, cursor, missed)
                continue
            if told.events:
                return _Batch(told.events, told.reached, False, url, secret)
            cursor = told.reached
            self._webhooks.passed(number, cursor)
            if not told.more:
                return None

    async def _attempt(self, line: Line, secret: str, event: Event) -> Answer:
        body = b'{"type":"%s","timestamp":"%s","data":%s}' % (
            event.kind.encode(),
            _rfc3339(event.time.timestamp()).encode(),
            event.model_dump_json().encode(),
        )
        return await line.post(body, signed(secret, f"evt_{self._name}_{event.id}", int(time.time()), body))

    def _settle(self, number: int, batch: _Batch, taken: Event | None, answer: Answer) -> None:
        """Note what became of a batch: `taken` is the last event that was, `answer` that to the one after it, or to it."""
        if batch.again:
            self._webhooks.tried_again(number, batch.reached, answer)
            return
        if answer.outcome == "delivered":
            self._webhooks.delivered(number, batch.reached, answer)
            return
        if taken is not None:
            self._webhooks.delivered(number, taken.id, answer)
        failed = next(event for event in batch.events if taken is None or event.id > taken.id)
        attempts = self._webhooks.get(number).attempts
        pause = min(self._rules.retry_max, self._rules.retry_first * 2.0 ** min(attempts, 30))
        pause = max(pause * random.uniform(0.8, 1.2), min(answer.retry_after, self._rules.retry_max))  # noqa: S311
        _log.info("webhook %d: event %d was not taken (%s)", number, failed.id, answer.reason)
        self._webhooks.failed(number, failed.id, answer, pause)


def _rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
