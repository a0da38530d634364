"""Sightings: who was seen when and where, the newest first, by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from vultus.index.types import Seen, Sighting
from vultus.server.access import allowed
from vultus.server.pages.site import Cursor, PageRoute, Visitor, render, visitor
from vultus.server.schemas import Id
from vultus.server.services import Here

router = APIRouter(
    prefix="/sightings", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "events")]
)
_MANY = 60
_DAYS = 14


class Bar(Struct, frozen=True, kw_only=True):
    """An hour or a day of the timeline."""

    start: datetime
    count: int
    height: float
    """Share of the highest."""


@router.get("")
def sightings(
    request: Request,
    here: Here,
    person: Id | None = None,
    who: Literal["", "known", "unknown"] = "",
    source: Annotated[str, Query(max_length=4096)] = "",
    day: Annotated[date | Literal[""], Query()] = "",
    cursor: Cursor = None,
) -> Response:
    """Sightings of one day or all, of one person or all."""
    seen = visitor(request)
    chosen = day or None
    after, before = _bounds(seen, chosen) if chosen else (None, None)
    where = Seen(
        people=None if person is None else (person,),
        unknown={"known": False, "unknown": True}.get(who),
        source=source or None,
        after=after,
        before=before,
    )
    page = here.gallery.seen(where, limit=_MANY, cursor=cursor)
    days = [(on, list(group)) for on, group in groupby(page.items, lambda one: seen.local(one.time).date())]
    return render(
        request,
        "sightings",
        days=days,
        page=page,
        person=None if person is None else here.gallery.identity(person),
        who=who,
        source=source,
        sources=_sources(here, page.items, source),
        day=chosen,
        cursor=cursor,
        bars=_bars(here, seen, where, chosen),
        newest=here.gallery.newest_sighting(),
        today=datetime.now(seen.zone).date(),
    )


def _bounds(seen: Visitor, day: date) -> tuple[float, float]:
    begin = datetime.combine(day, time(), seen.zone)
    return begin.timestamp(), (begin + timedelta(days=1)).timestamp()


def _bars(here: Here, seen: Visitor, where: Seen, day: date | None) -> list[Bar]:
    """The hours of a day, or the last days, also those without a sighting."""
    now = datetime.now(seen.zone)
    begin = datetime.combine(day or now.date() - timedelta(days=_DAYS - 1), time(), seen.zone)
    every = 3600.0 if day else 86_400.0
    shift = begin.utcoffset() or timedelta()
    within = Seen(
        people=where.people,
        unknown=where.unknown,
        source=where.source,
        after=begin.timestamp(),
        before=begin.timestamp() + every * (24 if day else _DAYS),
    )
    counted = dict(here.gallery.seen_counts(within, every=every, shift=shift.total_seconds()))
    starts = [begin.timestamp() + every * step for step in range(24 if day else _DAYS)]
    highest = max(counted.values(), default=1)
    return [
        Bar(start=seen.local(start), count=counted.get(start, 0), height=counted.get(start, 0) / highest)
        for start in starts
    ]


def _sources(here: Here, shown: Sequence[Sighting], chosen: str) -> list[str]:
    """What can be chosen: the sources of what is shown and of the newest sightings."""
    newest = here.gallery.seen(Seen(), limit=500).items
    return sorted({one.source for one in (*shown, *newest)} | ({chosen} - {""}))
