"""How a camera is, and what is told when that changes."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from vultus.pipeline.health import CameraHealth
from vultus.server.cameras.register import Camera

State = Literal["off", "waiting", "connecting", "connected", "lost", "ended", "unusable"]
"""`off`: switched off; `waiting`: for the stage processes; `unusable`: what it is needs a change first."""


class Condition(Struct, frozen=True, kw_only=True):
    """How a camera is."""

    state: State
    since: float | None = None
    """When it came into this state; seconds since the epoch, as all times here."""
    fps_in: float = 0.0
    fps_analysed: float = 0.0
    dropped: int = 0
    latency: float | None = None
    last_face: float | None = None
    restarts: int = 0
    last_error: str = ""
    decoder: str = ""
    size: tuple[int, int] | None = None


class CameraChange(Struct, frozen=True, kw_only=True):
    """A camera came, went, or was changed."""

    at: float
    camera: int
    name: str
    state: Literal["connected", "lost", "ended", "off", "removed", "unusable"]
    reason: str = ""
    retry_in: float | None = None
    """Seconds until the next attempt to connect."""
    size: tuple[int, int] | None = None
    """Of one that is connected, width and height of its pictures."""


class WorkerChange(Struct, frozen=True, kw_only=True):
    """A stage process died or runs again; without a `worker` it is about all of them together."""

    at: float
    state: Literal["died", "restarted", "joined", "left", "failed", "running", "stopped"]
    worker: str = ""
    reason: str = ""


def condition(camera: Camera, health: CameraHealth | None, unusable: str | None, trouble: str) -> Condition:
    """Of a camera, by what the pipeline says of it, why it cannot be watched, and why no pipeline runs."""
    if not camera.enabled:
        return Condition(state="off")
    if unusable is not None:
        return Condition(state="unusable", last_error=unusable)
    if health is None:
        return Condition(state="waiting", last_error=trouble)
    return Condition(
        state=health.state,
        since=health.since,
        fps_in=health.fps_in,
        fps_analysed=health.fps_analysed,
        dropped=health.dropped,
        latency=health.latency,
        last_face=health.last_face,
        restarts=health.restarts,
        last_error=health.last_error,
        decoder=health.decoder,
        size=health.size,
    )
