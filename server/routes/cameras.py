"""Cameras: which there are, how they are, and what they see."""

from __future__ import annotations

import base64
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, model_validator

from vultus.server.access import Asker, Stream, allowed
from vultus.server.cameras import admission
from vultus.server.cameras.changes import Condition, State, condition
from vultus.server.cameras.register import Camera as Known
from vultus.server.cameras.register import Draft
from vultus.server.problems import Problem
from vultus.server.routes.live import jpegs
from vultus.server.schemas import Id, IdInPath, Limit, Listing, Name, NumberCursor, Schema, moment
from vultus.server.services import Here
from vultus.server.trying import tried

router = APIRouter(prefix="/cameras", tags=["cameras"], dependencies=[allowed("viewer", "cameras")])

Share = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[
    tuple[tuple[Share, Share], ...], Field(min_length=3, max_length=64, examples=[[(0.0, 0.0), (0.3, 0.0), (0.3, 1.0)]])
]
"""Corners, in shares of the picture's width and height from the upper left."""
Polygons = Annotated[tuple[Polygon, ...], Field(max_length=32)]
Address = Annotated[str, Field(min_length=1, max_length=4096, examples=["rtsp://viewer:password@192.0.2.7/stream1"])]
Transport = Literal["tcp", "udp"]
_ADMIN = [allowed("admin", "cameras")]
_OPERATOR = [allowed("operator", "cameras")]
_PATIENCE = 5.0
"""Seconds in which a snapshot has to come."""
_TRIALS = threading.BoundedSemaphore(2)
"""Each is a process."""


class Health(Schema):
    """How a camera is."""

    state: State
    """`waiting` for the stage processes; `unusable`: `last_error` says what to change."""
    since: datetime | None
    fps_in: float
    """Frames a second that arrive, over the last seconds."""
    fps_analysed: float
    dropped: int
    """Frames that were left out because newer ones were there."""
    latency: float | None
    """Seconds from a frame's arrival to the end of its detection."""
    last_face: datetime | None
    restarts: int
    """Connections that were lost."""
    last_error: str
    decoder: str
    size: tuple[int, int] | None
    """Width and height of its picture when it connected last."""


class Camera(Schema):
    """A camera."""

    id: int
    name: str
    """How sightings call it (`source`)."""
    address: str
    """Without user and password."""
    origin: Literal["server", "configuration"]
    """A camera of the configuration is changed there."""
    enabled: bool
    transport: Transport | None
    """Of RTSP; null: `decode.rtsp_transport`."""
    zones: Polygons
    """Painted black: never analysed, never shown."""
    masks: Polygons
    """Movement here wakes nobody."""
    created: datetime
    health: Health


class CameraNew(Schema):
    """A camera to be watched."""

    name: Name
    address: Address
    """`rtsp`, `rtsps`, `http`, `https`, `rtmp` or `rtmps`; kept encrypted, never sent back."""
    transport: Transport | None = None
    zones: Polygons = ()
    masks: Polygons = ()
    enabled: bool = True


class CameraPatch(Schema):
    """What to change. An address without its user and password, as it was sent back, means the one that is kept."""

    name: Name | None = None
    address: Address | None = None
    transport: Transport | None = None
    """null: as `decode.rtsp_transport` says."""
    zones: Polygons | None = None
    masks: Polygons | None = None
    enabled: bool | None = None


class Trial(Schema):
    """What to try: an address, or a camera that is kept."""

    address: Address | None = None
    camera: Id | None = None
    transport: Transport | None = None

    @model_validator(mode="after")
    def _one(self) -> Trial:
        if (self.address is None) == (self.camera is None):
            raise ValueError("give either `address` or `camera`")
        return self


class CameraTest(Schema):
    """What came of connecting to a camera."""

    works: bool
    reason: str
    """Why there is no picture."""
    remedy: str
    """What to try next."""
    codec: str
    width: int
    height: int
    fps: float
    picture: str | None
    """A JPEG in base64, its longer side at most 960."""


_KNOWN_NAME: dict[int | str, dict[str, str]] = {409: {"description": "Its name is taken, or the configuration has it"}}
_JPEG: dict[int | str, dict[str, object]] = {200: {"content": {"image/jpeg": {}}, "description": "A JPEG"}}


@router.get("")
def list_cameras(here: Here, limit: Limit = 100, cursor: NumberCursor = None) -> Listing[Camera]:
    """All cameras and how they are, in the order in which they came."""
    found = here.cameras.all(cursor or 0, limit + 1)
    conditions = here.watching.conditions()
    items = [_shown(camera, conditions.get(camera.id)) for camera in found[:limit]]
    return Listing(items=items, next=str(found[limit - 1].id) if len(found) > limit else None)


@router.post("", status_code=201, dependencies=_ADMIN, responses=_KNOWN_NAME)
def add_camera(here: Here, response: Response, new: CameraNew) -> Camera:
    """Watch one more camera, from now on. Try its address with `POST /cameras/test` before.

    422 `address-refused`: the address leads where `serve.cameras` does not let cameras lead.
    """
    admission.check(new.address, here.config.serve.cameras)
    camera = here.cameras.add(
        Draft(
            name=new.name.strip(),
            address=new.address,
            transport=new.transport,
            zones=new.zones,
            masks=new.masks,
            enabled=new.enabled,
        )
    )
    here.watching.refresh()
    response.headers["Location"] = f"/api/v1/cameras/{camera.id}"
    return _now(here, camera)


@router.post("/test", dependencies=_ADMIN)
def try_camera(here: Here, trial: Trial) -> CameraTest:
    """Connect to a camera without keeping it: a picture of it, or why there is none and what to do. Takes up to 20 seconds."""
    rules = here.config.serve.cameras
    if trial.camera is not None:
        camera = here.cameras.get(trial.camera)
        if (why := admission.why_not(camera, rules)) is not None:
            raise Problem(409, "camera-unusable", why)
        wanted = admission.wanted(camera, rules)
        address, networks = wanted.source.address, wanted.networks
    else:
        assert trial.address is not None
        admission.check(trial.address, rules)
        address, networks = trial.address, rules.networks
    if not _TRIALS.acquire(blocking=False):
        raise Problem(503, "overloaded", "Two cameras are being tried already.", headers={"Retry-After": "5"})
    try:
        found = tried(address, here.config, trial.transport, networks)
    finally:
        _TRIALS.release()
    return CameraTest(
        works=found.works,
        reason=found.reason,
        remedy=found.remedy,
        codec=found.codec,
        width=found.width,
        height=found.height,
        fps=found.fps,
        picture=base64.b64encode(found.jpeg).decode() if found.jpeg else None,
    )


@router.get("/{number}")
def show_camera(here: Here, number: IdInPath) -> Camera:
    """One camera and how it is."""
    return _now(here, here.cameras.get(number))


@router.patch("/{number}", dependencies=_OPERATOR, responses=_KNOWN_NAME)
def change_camera(here: Here, asker: Asker, number: IdInPath, patch: CameraPatch) -> Camera:
    """Change a camera; it is connected to anew. Its address and transport are for admins.

    Sightings that are there keep the name that it had.
    """
    address = patch.address
    if address is not None and address == here.cameras.get(number).shown_address:
        address = None
    if (address is not None or "transport" in patch.model_fields_set) and not asker.may("admin"):
        raise Problem(403, "forbidden", "The address and transport of a camera are for admins.")
    if address is not None:
        admission.check(address, here.config.serve.cameras)
    camera = here.cameras.change(
        number,
        Draft(
            name=None if patch.name is None else patch.name.strip(),
            address=address,
            transport=patch.transport if "transport" in patch.model_fields_set else msgspec.UNSET,
            zones=patch.zones,
            masks=patch.masks,
            enabled=patch.enabled,
        ),
    )
    here.watching.refresh()
    return _now(here, camera)


@router.delete("/{number}", status_code=204, dependencies=_ADMIN, responses=_KNOWN_NAME)
def remove_camera(here: Here, number: IdInPath) -> Response:
    """Watch a camera no longer, and forget its address. Its sightings stay."""
    here.cameras.remove(number)
    here.watching.refresh()
    return Response(status_code=204)


@router.get("/{number}/snapshot", response_class=Response, responses=_JPEG | {409: {"description": "It is off"}})
def snapshot(here: Here, number: IdInPath) -> Response:
    """A JPEG of what the camera sees now, its longer side at most `preview.snapshot_side`; 503 if it gives none."""
    picture = here.watching.snapshot(number, _PATIENCE)
    return Response(picture.jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.get(
    "/{number}/live.mjpeg",
    dependencies=[Stream],
    response_class=StreamingResponse,
    responses={200: {"content": {"multipart/x-mixed-replace": {}}, "description": "JPEGs without an end"}},
)
async def live_jpegs(here: Here, number: IdInPath) -> StreamingResponse:
    """What the camera sees, as a stream of JPEGs: for `<img>` and Home Assistant. Pages take the WebSocket `/live`."""
    here.cameras.get(number)
    kind = "multipart/x-mixed-replace; boundary=next"
    return StreamingResponse(_parts(here, number), media_type=kind, headers={"Cache-Control": "no-store"})


async def _parts(here: Here, number: int) -> AsyncIterator[bytes]:
    async for jpeg in jpegs(here, number):
        yield b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)


def _now(here: Here, camera: Known) -> Camera:
    return _shown(camera, here.watching.conditions().get(camera.id))


def _shown(camera: Known, known: Condition | None) -> Camera:
    how = known or condition(camera, None, None, "")
    return Camera(
        id=camera.id,
        name=camera.name,
        address=camera.shown_address,
        origin="configuration" if camera.configured else "server",
        enabled=camera.enabled,
        transport=camera.view.transport,
        zones=camera.view.zones,
        masks=camera.view.masks,
        created=moment(camera.created),
        health=Health(
            state=how.state,
            since=moment(how.since),
            fps_in=how.fps_in,
            fps_analysed=how.fps_analysed,
            dropped=how.dropped,
            latency=how.latency,
            last_face=moment(how.last_face),
            restarts=how.restarts,
            last_error=how.last_error,
            decoder=how.decoder,
            size=how.size,
        ),
    )
