"""Alerts: the last ones, the rules that raise them, and who else is told: webhooks and the MQTT broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from vultus.index.errors import UnknownIdentity, UnknownSighting
from vultus.server.access import Asker, allowed
from vultus.server.events.log import Kind, Wanted
from vultus.server.events.rulebook import Kept
from vultus.server.events.rules import UNKNOWN
from vultus.server.events.shapes import Event
from vultus.server.events.webhooks import Webhook
from vultus.server.pages.site import PageRoute, render
from vultus.server.services import Here, Services

router = APIRouter(
    prefix="/alerts", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "events")]
)
_ALERTS = Wanted(kinds=("alert",))
_NEWEST = 10
_TONES = {"info": "", "warning": "unsure", "critical": "bad"}


class Raised(Struct, frozen=True):
    """An alert, and the picture that there is of it."""

    event: Event
    picture: tuple[int, int] | None
    """Numbers of the sighting and its shot."""


class Hook(Struct, frozen=True):
    """A webhook and how it is getting on."""

    kept: Webhook
    waiting: int
    dead: int


@router.get("")
def alerts(request: Request, here: Here, asker: Asker) -> Response:
    """The newest alerts and all rules; for administrators webhooks and the broker."""
    rules = here.rules.all()
    hooks = here.webhooks.all() if asker.may("admin") else []
    cameras = here.cameras.all()
    sources = {one.name for one in cameras} | {source for kept in rules for source in kept.rule.sources}
    return render(
        request,
        "alerts",
        raised=[_raised(here, event) for event in here.feed.before(None, _NEWEST, _ALERTS).events],
        rules=rules,
        strangers=any(kept.rule.title == UNKNOWN.title for kept in rules),
        names=_names(here, rules),
        sources=sorted(sources),
        cameras={one.name: one.id for one in cameras},
        hooks=[
            Hook(one, here.webhooks.waiting(one) if one.enabled else 0, here.webhooks.dead_count(one.id))
            for one in hooks
        ],
        kinds=get_args(Kind),
        tones=_TONES,
        broker=here.config.serve.mqtt,
        mqtt=here.mqtt,
        topics={one.name: here.mqtt.topics.of_camera(one.name) for one in cameras},
    )


def _raised(here: Services, event: Event) -> Raised:
    try:
        seen = here.gallery.sighting(event.sighting.number) if event.sighting else None
    except UnknownSighting:
        seen = None
    return Raised(event, (seen.id, seen.shot) if seen is not None and seen.shot else None)


def _names(here: Services, rules: Sequence[Kept]) -> dict[int, str | None]:
    """The people of the rules, those who are still there, by number; none: no name."""
    found = dict[int, str | None]()
    for number in {number for kept in rules for number in kept.rule.people}:
        try:
            found[number] = here.gallery.identity(number).name
        except UnknownIdentity:
            continue
    return found
