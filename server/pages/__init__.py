"""Pages for people: one module each, over the same gallery as the API, which their scripts use for whatever is done."""

from vultus.server.pages import (
    account,
    alerts,
    archive,
    calibration,
    cameras,
    people,
    search,
    sightings,
    start,
    static,
    system,
    unknowns,
)

PAGES = (start, cameras, sightings, search, people, unknowns, archive, alerts, calibration, system, account, static)
"""Modules with a `router`."""
