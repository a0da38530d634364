"""System: what the server holds, how busy it is, and who did what."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from vultus.configs.loader import data_folder
from vultus.server.access import Asker, allowed
from vultus.server.jobs.tasks import backups
from vultus.server.pages.site import Cursor, PageRoute, render
from vultus.server.services import Here
from vultus.server.vitals import Sample
from vultus.weights import Registry

router = APIRouter(
    prefix="/system", route_class=PageRoute, include_in_schema=False, dependencies=[allowed("operator", "system")]
)
_ENTRIES = 50


class Curve(Struct, frozen=True, kw_only=True):
    """Memory of all processes over the last day, in a picture of 1000 by 100."""

    path: str
    now: int
    """Megabytes."""
    most: int


@router.get("")
def system(request: Request, here: Here, asker: Asker, cursor: Cursor = None) -> Response:
    """Figures, models, backups; the audit log for administrators."""
    chosen = here.config.models
    admin = asker.may("admin")
    now = here.vitals.now()
    health = here.health()
    return render(
        request,
        "system",
        stats=here.gallery.stats(),
        desk=here.desk,
        curve=_curve([*here.vitals.history(), now]),
        now_is=now,
        processes=health.processes if health else (),
        models=Registry(data_folder()).status(),
        used={chosen.detector, chosen.embedder},
        copies=backups(here.config) if admin else [],
        schedule=here.config.serve.backup,
        audit=here.gallery.audit.page(limit=_ENTRIES, cursor=cursor) if admin else None,
        cursor=cursor,
        version=version("vultus"),
    )


def _curve(samples: Sequence[Sample]) -> Curve:
    sizes = [one.memory + one.stages for one in samples]
    begin, most = samples[0].at, max(sizes)
    span = max(samples[-1].at - begin, 1.0)
    points = [
        f"{1000 * (one.at - begin) / span:.1f} {100 - 95 * size / most:.1f}"
        for one, size in zip(samples, sizes, strict=True)
    ]
    return Curve(path="M" + "L".join(points), now=sizes[-1] // 1_000_000, most=most // 1_000_000)
