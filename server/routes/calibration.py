"""From which similarity on two faces are one person, measured in the gallery itself."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Self

from fastapi import APIRouter
from pydantic import Field

from vultus import index
from vultus.index.calibration import Period, policy
from vultus.server.access import Seat, allowed
from vultus.server.patience import patiently
from vultus.server.schemas import Body, Schema, moment
from vultus.server.services import Here
from vultus.stages.gallery import Origin, threshold_origin

router = APIRouter(prefix="/calibration", tags=["calibration"], dependencies=[allowed("viewer", "system")])
ADMIN = allowed("admin", "system")
_STEP = 0.01


class Policy(Schema):
    """What was wanted: a rate of false alarms, or one in so long a time at so much traffic."""

    fpir: float | None
    one_false_alarm_per: Period | None
    faces_per_day: float | None
    known: float

    @classmethod
    def of(cls, one: index.Policy) -> Self:
        """Of the gallery's."""
        return cls(
            fpir=one.fpir,
            one_false_alarm_per=one.one_false_alarm_per,
            faces_per_day=one.faces_per_day,
            known=one.known,
        )


class Bin(Schema):
    """A bar of the histogram: similarities from `start` to 0.02 above."""

    start: float
    impostors: int
    """Faces whose nearest other person is so similar."""
    genuine: int
    """Faces whose nearest other picture of the same person is so similar."""


class Point(Schema):
    """What a threshold would mean."""

    threshold: float
    fpir: float
    """Share of strangers' faces that would be taken for somebody."""


class Calibration(Schema):
    """What was measured, and the threshold that follows."""

    at: datetime
    policy: Policy
    identities: int
    """People who were compared."""
    faces: int
    impostors: int
    """Scores of faces to the most similar other person, as far as they were used."""
    set_aside: int
    """Scores left out because the two are probably one person, or a face has the wrong name."""
    genuine: int
    """Scores of faces to the most similar other picture of the same person."""
    why_not: str | None
    """Why there is no threshold of this gallery's own."""
    threshold: float | None
    threshold_between: tuple[float, float] | None
    """95% confidence interval."""
    fpir_between: tuple[float, float] | None
    """Of the rate at the threshold, likewise."""
    fnir: float | None
    """Share of faces of known people that the threshold does not recognise."""
    extrapolated: float | None
    """How many times rarer the wanted rate is than what the scores can show; 1 or less: it was measured."""
    bins: list[Bin]
    curve: list[Point]
    """The rate at thresholds 0.01 apart, for drawing."""

    @classmethod
    def of(cls, one: index.Calibration) -> Self:
        """Of the gallery's."""
        return cls(
            at=moment(one.at),
            policy=Policy.of(one.policy),
            identities=one.identities,
            faces=one.faces,
            impostors=one.impostors,
            set_aside=one.set_aside,
            genuine=one.genuine,
            why_not=one.why_not,
            threshold=one.threshold,
            threshold_between=one.threshold_between,
            fpir_between=one.fpir_between,
            fnir=one.fnir,
            extrapolated=one.extrapolated if math.isfinite(one.extrapolated) else None,
            bins=[Bin(start=start, impostors=others, genuine=same) for start, others, same in one.bins],
            curve=_curve(one),
        )


class Threshold(Schema):
    """Which threshold is in use, and what it rests on."""

    threshold: float
    origin: Origin
    """`match.threshold` goes before the gallery's calibration, and that before what the model suggests."""
    stale: str | None
    """Why the calibration does not fit the gallery any more, in words; none: it does."""
    calibration: Calibration | None
    """The one that is kept."""


class Wanted(Body):
    """What is wanted: `fpir`, or `one_false_alarm_per` with `faces_per_day`, or none of them for the same as last time."""

    fpir: float | None = Field(None, gt=0, lt=1, examples=[0.001])
    """Share of strangers' faces that may be taken for somebody."""
    one_false_alarm_per: Period | None = None
    faces_per_day: float | None = Field(None, gt=0, le=1e12)
    """Faces that are searched for, counted as if all of them were strangers'."""
    known: float | None = Field(None, gt=0, lt=1)
    """Share of faces that are expected to be of people of the gallery; probabilities depend on it. At first 0.5."""
    keep: bool = True
    """false: only tell what would follow."""


@router.get("")
def threshold(here: Here) -> Threshold:
    """Tell which threshold is in use, and whether the gallery's own still fits."""
    found = here.gallery.calibration.current()
    return Threshold(
        threshold=here.threshold,
        origin=threshold_origin(here.config, here.gallery),
        stale=here.gallery.calibration.stale(),
        calibration=None if found is None else Calibration.of(found),
    )


@router.post("", dependencies=[ADMIN, Seat])
def calibrate(here: Here, wanted: Wanted) -> Calibration:
    """Measure how similar strangers are in this gallery, and keep the threshold that follows.

    Up to 5000 faces of people with names are compared to everybody else. Searches and cameras use the threshold at once,
    and matches get a probability. With few people there is none; `why_not` says so. What takes longer than a minute ends
    with 503 `takes-too-long`, and nothing is kept.
    """
    calibrating = here.gallery.calibration
    asked = policy(
        calibrating.current(),
        fpir=wanted.fpir,
        one_false_alarm_per=wanted.one_false_alarm_per,
        faces_per_day=wanted.faces_per_day,
        known=wanted.known,
    )
    found = calibrating.measure(asked, patiently("vultus calibrate"))
    if wanted.keep:
        calibrating.keep(found)
    return Calibration.of(found)


@router.delete("", status_code=204, dependencies=[ADMIN])
def forget_calibration(here: Here) -> None:
    """Keep no calibration any more: the model's threshold holds, and matches have no probability."""
    here.gallery.calibration.forget()


def _curve(one: index.Calibration) -> list[Point]:
    if one.tail is None or not one.bins:
        return []
    first = math.floor(one.bins[0][0] / _STEP)
    steps = [round(number * _STEP, 2) for number in range(first, round(1 / _STEP) + 1)]
    return [Point(threshold=at, fpir=one.fpir(at)) for at in steps]
