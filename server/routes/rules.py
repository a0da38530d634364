"""Rules: what raises an alert."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response

from vultus.server.access import allowed
from vultus.server.events.rulebook import Kept
from vultus.server.events.rules import UNKNOWN, RuleNew
from vultus.server.schemas import Box, IdInPath, Listing, Schema, moment
from vultus.server.services import Here

router = APIRouter(prefix="/rules", tags=["events"], dependencies=[allowed("viewer", "events")])

_DAY = 86_400.0
_OPERATOR = [allowed("operator", "events")]
_TAKEN: dict[int | str, dict[str, Any]] = {409: {"description": "The title is taken, or there are too many rules"}}


class Rule(RuleNew):
    """A rule that is kept."""

    id: int
    created: datetime


class Matched(Schema):
    """A sighting that a rule matches."""

    number: int
    time: datetime
    source: str
    identity: int | None
    name: str | None
    similarity: float | None
    quality: float | None
    box: Box | None
    alert: bool
    """Whether it would have raised one; not, if the cooldown had not passed."""


class Trial(Schema):
    """What a rule would have done in the last 24 hours."""

    looked_at: int
    """Sightings; the newest 20,000 at most."""
    undecided: int
    """Of these, how many only the size of a camera's picture would decide, which is not known before the server has run it."""
    matched: int
    alerts: int
    items: list[Matched]
    """The newest that match, 200 at most."""


@router.get("")
def rules(here: Here) -> Listing[Rule]:
    """Every rule, the oldest first; there are never more than 1000."""
    return Listing(items=[_rule(kept) for kept in here.rules.all()])


@router.post("", status_code=201, dependencies=_OPERATOR, responses=_TAKEN)
def create(here: Here, rule: RuleNew, response: Response) -> Rule:
    """Keep a rule; from now on it raises alerts, which are events of the kind `alert`."""
    kept = here.rules.add(rule)
    response.headers["Location"] = f"/api/v1/rules/{kept.id}"
    return _rule(kept)


@router.post(
    "/unknown",
    status_code=201,
    dependencies=_OPERATOR,
    responses={200: {"model": Rule, "description": "It was there already"}},
)
def unknown(here: Here, response: Response) -> Rule:
    """Alert on unknown people: make the ready-made rule, or (200) switch it on if it is there already."""
    kept = here.rules.titled(UNKNOWN.title)
    if kept is None:
        return create(here, UNKNOWN, response)
    response.status_code = 200
    on = kept.rule.model_copy(update={"enabled": True})
    return _rule(kept if kept.rule.enabled else here.rules.put(kept.id, on))


@router.post("/try")
def attempt(here: Here, rule: RuleNew) -> Trial:
    """What a rule would have done in the last 24 hours; nothing is kept."""
    trial = here.rules.attempt(rule, here.gallery, here.pump.position, time.time() - _DAY)
    return Trial(
        looked_at=trial.looked_at,
        undecided=trial.undecided,
        matched=trial.matched,
        alerts=trial.alerts,
        items=[
            Matched(
                number=sighting.id,
                time=moment(sighting.time),
                source=sighting.source,
                identity=sighting.identity,
                name=sighting.name,
                similarity=sighting.similarity,
                quality=sighting.quality,
                box=sighting.box,
                alert=raises,
            )
            for sighting, raises in trial.shown
        ],
    )


@router.get("/{rule_id:int}")
def rule(here: Here, rule_id: IdInPath) -> Rule:
    """A rule."""
    return _rule(here.rules.get(rule_id))


@router.put("/{rule_id:int}", dependencies=_OPERATOR, responses=_TAKEN)
def replace(here: Here, rule_id: IdInPath, rule: RuleNew) -> Rule:
    """Put another rule in its place, with the same number."""
    return _rule(here.rules.put(rule_id, rule))


@router.delete("/{rule_id:int}", status_code=204, dependencies=_OPERATOR)
def remove(here: Here, rule_id: IdInPath) -> None:
    """Forget a rule; its alerts stay in the log."""
    here.rules.remove(rule_id)


def _rule(kept: Kept) -> Rule:
    return Rule(id=kept.id, created=moment(kept.created), **kept.rule.model_dump())
