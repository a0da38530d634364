"""Webhooks: other servers that are told of events."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from vultus.server.access import Seat, allowed
from vultus.server.events.log import Kind, Wanted
from vultus.server.events.rules import Number as RuleNumber
from vultus.server.events.rules import Text
from vultus.server.events.webhooks import Webhook as Kept
from vultus.server.schemas import IdInPath, Limit, Listing, NumberCursor, Schema, moment
from vultus.server.services import Here, Services

router = APIRouter(prefix="/webhooks", tags=["events"], dependencies=[allowed("admin", "events")])

Url = Annotated[str, Field(min_length=8, max_length=2000)]
Kinds = Annotated[tuple[Kind, ...], Field(max_length=10)]
RuleNumbers = Annotated[tuple[RuleNumber, ...], Field(max_length=100)]
_TAKEN: dict[int | str, dict[str, Any]] = {409: {"description": "The title is taken, or there are too many webhooks"}}


class WebhookNew(Schema):
    """Who is to be told of what."""

    title: Text
    url: Url
    """https:// or http://; it may hold a token, and is not shown again in full."""
    kinds: Kinds = ("alert",)
    """Events of these kinds; empty: all."""
    rules: RuleNumbers = ()
    """Of alerts, those of these rules only; empty: all."""
    enabled: bool = True


class WebhookChange(Schema):
    """What is to change; what is left out stays."""

    title: Text | None = None
    url: Url | None = None
    """The one that the webhook shows means no change."""
    kinds: Kinds | None = None
    rules: RuleNumbers | None = None
    enabled: bool | None = None
    """Switched on again, a webhook gets what happens from then on."""


class Attempt(Schema):
    """The last attempt to deliver."""

    at: datetime
    status: int | None
    """What the receiver answered, if it did."""
    reason: str


class Webhook(Schema):
    """A webhook and how it is getting on."""

    id: int
    title: str
    url: str
    """Without user, password and tokens."""
    kinds: tuple[Kind, ...]
    rules: tuple[int, ...]
    enabled: bool
    created: datetime
    waiting: int
    """Events that wait for it; counted up to 10,000."""
    failures: int
    """Attempts for the next of them that failed."""
    again: datetime | None
    """When it is tried again, if it has to wait."""
    last: Attempt | None
    missed: int
    """Events that were deleted from the log before they could be delivered."""
    dead: int
    """Dead letters, which could not be delivered and can be tried again."""


class WebhookMade(Webhook):
    """A webhook with its secret, which is told only now."""

    secret: str
    """By which the receiver verifies signatures: `whsec_...`."""


class Pinged(Schema):
    """What became of a ping."""

    delivered: bool
    status: int | None
    reason: str


class DeadLetter(Schema):
    """An event that could not be delivered; `GET /events?after={event - 1}&limit=1` shows it."""

    event: int
    reason: str
    attempts: int
    """0: it waited too long behind others."""
    at: datetime
    again: bool
    """Whether it is about to be tried again."""


class Delivery(Schema):
    """One attempt to deliver."""

    event: int | None
    """None: a ping."""
    at: datetime
    delivered: bool
    status: int | None
    """What the receiver answered, if it did."""
    reason: str


class Redeliver(Schema):
    """Which dead letters to try again."""

    events: Annotated[list[RuleNumber], Field(max_length=1000)] | None = None
    """None: all."""


class Redelivered(Schema):
    """How many will be tried again."""

    count: int


@router.get("")
def webhooks(here: Here) -> Listing[Webhook]:
    """Every webhook, the oldest first; there are never more than 100."""
    return Listing(items=[Webhook(**_fields(here, kept)) for kept in here.webhooks.all()], next=None)


@router.post("", status_code=201, responses=_TAKEN)
def create(here: Here, new: WebhookNew, response: Response) -> WebhookMade:
    """Tell another server of events, from now on. The answer holds the secret, this once."""
    number, secret = here.webhooks.add(new.title, new.url, new.kinds, new.rules, enabled=new.enabled)
    response.headers["Location"] = f"/api/v1/webhooks/{number}"
    return WebhookMade(**_fields(here, here.webhooks.get(number)), secret=secret)


@router.get("/{webhook_id:int}")
def webhook(here: Here, webhook_id: IdInPath) -> Webhook:
    """A webhook, what waits for it, and how the last attempt went."""
    return Webhook(**_fields(here, here.webhooks.get(webhook_id)))


@router.patch("/{webhook_id:int}", responses=_TAKEN)
def change(here: Here, webhook_id: IdInPath, asked: WebhookChange) -> Webhook:
    """Change a webhook; it is tried at once if it had to wait."""
    former = here.webhooks.get(webhook_id).wanted
    wanted = Wanted(
        kinds=former.kinds if asked.kinds is None else asked.kinds,
        rules=former.rules if asked.rules is None else asked.rules,
    )
    here.webhooks.change(webhook_id, title=asked.title, url=asked.url, wanted=wanted, enabled=asked.enabled)
    here.courier.wake()
    return webhook(here, webhook_id)


@router.delete("/{webhook_id:int}", status_code=204)
def remove(here: Here, webhook_id: IdInPath) -> None:
    """Forget a webhook, with what waits for it and its dead letters."""
    here.webhooks.remove(webhook_id)


@router.post("/{webhook_id:int}/secret")
def new_secret(here: Here, webhook_id: IdInPath) -> WebhookMade:
    """Give it another secret, which the answer holds, this once; the former is void at once."""
    secret = here.webhooks.new_secret(webhook_id)
    return WebhookMade(**_fields(here, here.webhooks.get(webhook_id)), secret=secret)


@router.post("/{webhook_id:int}/ping", dependencies=[Seat])
def ping(here: Here, webhook_id: IdInPath) -> Pinged:
    """Send a signed message of the type `ping`, once, and say how it was taken."""
    answer = asyncio.run(here.courier.ping(webhook_id))
    return Pinged(delivered=answer.outcome == "delivered", status=answer.status, reason=answer.reason)


@router.get("/{webhook_id:int}/attempts")
def attempts(here: Here, webhook_id: IdInPath) -> Listing[Delivery]:
    """The last attempts to deliver since the server began, newest first; 50 at most."""
    items = [
        Delivery(
            event=one.event,
            at=moment(one.at),
            delivered=one.answer.outcome == "delivered",
            status=one.answer.status,
            reason=one.answer.reason,
        )
        for one in here.webhooks.attempts(webhook_id)
    ]
    return Listing(items=items, next=None)


@router.get("/{webhook_id:int}/dead")
def dead(here: Here, webhook_id: IdInPath, limit: Limit = 50, cursor: NumberCursor = None) -> Listing[DeadLetter]:
    """What could not be delivered, newest event first, as long as the log keeps it."""
    found = here.webhooks.dead(webhook_id, limit, cursor)
    items = [
        DeadLetter(event=one.event, reason=one.reason, attempts=one.attempts, at=moment(one.at), again=one.again)
        for one in found
    ]
    return Listing(items=items, next=str(found[-1].event) if len(found) == limit else None)


@router.post("/{webhook_id:int}/dead/redeliver", status_code=202)
def redeliver(here: Here, webhook_id: IdInPath, which: Redeliver) -> Redelivered:
    """Let dead letters be tried once more, soon; those that are taken leave the list."""
    count = here.webhooks.redeliver(webhook_id, which.events)
    here.courier.wake()
    return Redelivered(count=count)


def _fields(here: Services, kept: Kept) -> dict[str, Any]:
    last = kept.last_at
    return {
        "id": kept.id,
        "title": kept.title,
        "url": kept.place,
        "kinds": kept.wanted.kinds,
        "rules": kept.wanted.rules,
        "enabled": kept.enabled,
        "created": moment(kept.created),
        "waiting": here.webhooks.waiting(kept) if kept.enabled else 0,
        "failures": kept.attempts,
        "again": moment(kept.due) if kept.due and kept.enabled else None,
        "last": None
        if last is None
        else Attempt(at=moment(last), status=kept.last_status, reason=kept.last_reason or ""),
        "missed": kept.missed,
        "dead": here.webhooks.dead_count(kept.id),
    }
