"""What happened, as pages and as a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Send

from vultus.server.access import Stream, allowed
from vultus.server.events.feed import Feed
from vultus.server.events.log import Kind, Wanted
from vultus.server.events.shapes import Event
from vultus.server.problems import Problem
from vultus.server.schemas import Schema
from vultus.server.services import Here

router = APIRouter(prefix="/events", tags=["events"], dependencies=[allowed("viewer", "events")])

Number = Annotated[int, Query(ge=0, le=2**53 - 1)]
_HEARTBEAT = 15.0
"""Seconds; proxies close what is silent for a minute or less."""
_LONGEST = 900.0
"""Seconds after which a stream ends; who listens comes back at once with the cursor, and is let in anew."""
_STALLED = 60.0
"""Seconds after which one who takes nothing is given up."""
_AT_ONCE = 200
"""Events that a stream reads at once: what one slow listener holds in memory at most."""


class Events(Schema):
    """A page of the log."""

    items: list[Event]
    next: int
    """The cursor after (or, newest first, before) this page; there is always one."""
    more: bool
    """Whether there is more already."""


async def _wanted(
    kind: Annotated[list[Kind] | None, Query(max_length=10, description="These kinds only; may be repeated.")] = None,
    source: Annotated[str | None, Query(max_length=4096, description="This camera or file only.")] = None,
    person: Annotated[int | None, Query(ge=1, le=2**53 - 1, description="This person only.")] = None,
    rule: Annotated[
        list[Annotated[int, Query(ge=1, le=2**53 - 1)]] | None,
        Query(max_length=100, description="Of alerts, those of these rules only; may be repeated."),
    ] = None,
) -> Wanted:
    return Wanted(kinds=tuple(kind or ()), source=source, identity=person, rules=tuple(rule or ()))


Filter = Annotated[Wanted, Depends(_wanted)]


@router.get("", responses={410: {"description": "Events after the cursor were deleted, or it is of another log"}})
def page(
    here: Here,
    wanted: Filter,
    after: Number | None = None,
    before: Number | None = None,
    order: Literal["oldest", "newest"] = "oldest",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Events:
    """What happened after a cursor, oldest first; ask again with `after` = `next`, as often as you like.

    Without `after` it begins with the oldest event that is kept. `order=newest` reads back instead, from the newest or from
    `before`. A cursor behind which something was deleted is answered with 410 and the numbers `oldest` and `newest`.
    """
    if (after if order == "newest" else before) is not None:
        raise Problem(422, "invalid", "`after` goes with order=oldest, `before` with order=newest.")
    feed = here.feed
    told = feed.before(before, limit, wanted) if order == "newest" else feed.after(after or 0, limit, wanted)
    if after is not None and not told.follows(after):
        why = "of another log" if after > told.newest else "too old: events after it were deleted"
        span = {"oldest": told.oldest, "newest": told.newest}
        raise Problem(410, "cursor-too-old", f"The cursor {after} is {why}.", extra=span)
    return Events(items=list(told.events), next=told.reached, more=told.more)


class _Stream(StreamingResponse):
    """A stream that gives up who takes nothing for long."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send it piece by piece."""

        async def patiently(message: object) -> None:
            async with asyncio.timeout(_STALLED):
                await send(message)  # type: ignore[arg-type]

        try:
            await super().stream_response(patiently)
        except TimeoutError:
            return


@router.get(
    "/stream",
    dependencies=[Stream],
    response_class=_Stream,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events, without an end"}},
)
async def stream(
    here: Here,
    wanted: Filter,
    after: Number | None = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Server-sent events, for EventSource: `id` is the cursor, `event` the kind, `data` the event.

    It goes on after `Last-Event-ID` (which EventSource sends by itself) or `after`; without either it begins now. If events
    after the cursor were deleted, an event `gap` says so first. Every 15 seconds there is a message without data that moves
    the cursor. A stream ends after 15 minutes and when the server stops; whoever comes back with the cursor misses nothing.
    """
    known = (
        last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19
    )
    start = int(last_event_id) if known and last_event_id is not None else after
    messages = _messages(here.feed, here.events.newest if start is None else start, wanted)
    return _Stream(messages, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _messages(feed: Feed, cursor: int, wanted: Wanted) -> AsyncIterator[bytes]:
    ends, quiet_since = time.monotonic() + _LONGEST, time.monotonic()
    with feed.listening() as listener:
        yield f"retry: 2000\nid: {cursor}\n\n".encode()
        while not feed.ended and time.monotonic() < ends:
            former = cursor
            found = feed.recent(cursor, wanted)
            if found is None:
                told = await asyncio.to_thread(feed.after, cursor, _AT_ONCE, wanted)
                if not told.follows(cursor):
                    gap = {"after": cursor, "oldest": told.oldest, "newest": told.newest}
                    cursor = told.oldest - 1
                    yield b"id: %d\nevent: gap\ndata: %s\n\n" % (cursor, msgspec.json.encode(gap))
                    continue
                events, cursor = list(told.events), told.reached
            else:
                events, cursor = found
            if events:
                yield b"".join(map(_message, events))
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _HEARTBEAT:
                yield f"id: {cursor}\n\n".encode()
                quiet_since = time.monotonic()
            if cursor == former:
                await listener.wait(_HEARTBEAT)


def _message(one: Event) -> bytes:
    return f"id: {one.id}\nevent: {one.kind}\ndata: {one.model_dump_json()}\n\n".encode()
