"""Calibration: how similar strangers are here, with the threshold on it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from vultus.index.calibration import Calibration
from vultus.server.access import allowed
from vultus.server.pages.site import PageRoute, render
from vultus.server.services import Here
from vultus.stages.gallery import threshold_origin

router = APIRouter(
    prefix="/calibration", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("viewer", "people")]
)
Kind = Literal["strangers", "same"]
_WIDTH, _HEIGHT = 720, 220
_LEFT, _BIN = -0.2, 0.02
"""Similarities below this are all strangers; they are left out. Width of a bin of `Calibration.bins`."""


class Bar(Struct, frozen=True, kw_only=True):
    """Scores of one bin, in the picture's units."""

    kind: Kind
    start: float
    count: int
    x: float
    y: float
    width: float
    height: float


class Chart(Struct, frozen=True, kw_only=True):
    """A histogram; each kind is scaled to its own highest bin, since strangers are far more."""

    width: int
    height: int
    bars: list[Bar]
    ticks: list[tuple[float, float]]
    """Place and similarity."""
    threshold: float
    """Its place."""


@router.get("")
def calibration(request: Request, here: Here) -> Response:
    """What was measured in this gallery, and what follows."""
    found = here.gallery.calibration.current()
    threshold = here.threshold
    return render(
        request,
        "calibration",
        found=found,
        threshold=threshold,
        origin=threshold_origin(here.config, here.gallery),
        stale=here.gallery.calibration.stale() if found else None,
        fpir=found.fpir(threshold) if found and found.tail is not None else None,
        chart=_chart(found, threshold) if found and found.bins else None,
    )


def _chart(found: Calibration, threshold: float) -> Chart:
    scale = _WIDTH / (1.0 - _LEFT)
    highest = {"strangers": max(one[1] for one in found.bins), "same": max(one[2] for one in found.bins)}
    bars = [
        Bar(
            kind=kind,
            start=start,
            count=count,
            x=(start - _LEFT) * scale,
            y=_HEIGHT * (1 - count / highest[kind]),
            width=_BIN * scale - 0.5,
            height=_HEIGHT * count / highest[kind],
        )
        for start, strangers, same in found.bins
        for kind, count in _counts(strangers, same)
        if count and start >= _LEFT
    ]
    return Chart(
        width=_WIDTH,
        height=_HEIGHT,
        bars=bars,
        ticks=[((at / 5 - _LEFT) * scale, at / 5) for at in range(5)],
        threshold=(threshold - _LEFT) * scale,
    )


def _counts(strangers: int, same: int) -> tuple[tuple[Kind, int], tuple[Kind, int]]:
    return ("strangers", strangers), ("same", same)
