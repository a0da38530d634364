"""What cameras see right now, for pages: one socket for all cameras that a page shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from msgspec import Meta, Struct

from vultus.server.access import Stream, allowed
from vultus.server.cameras.live import Picture, Viewer, state_told
from vultus.server.services import Here

router = APIRouter(prefix="/live", tags=["cameras"], dependencies=[allowed("viewer", "cameras")])

_LONGEST = 900.0
"""Seconds after which a socket ends; the page comes back at once, and is let in anew."""
_MOST_TEXT = 8192
_GONE = 4408
_BAD = 4400

Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Said(Struct, frozen=True, forbid_unknown_fields=True):
    """What a page says."""

    cameras: Annotated[tuple[Number, ...], Meta(max_length=64)] | None = None
    large: Number | None = None
    got: Number | None = None


_decoder = msgspec.json.Decoder(_Said)


@router.websocket("", dependencies=[Stream])
async def live(socket: WebSocket, here: Here) -> None:
    """Pictures (binary), marks and states (text) of the cameras that the page asks for; docs/server.md has the messages."""
    await socket.accept()
    with here.live.looking() as viewer:
        tasks = [
            asyncio.create_task(_send(socket, viewer)),
            asyncio.create_task(_hear(socket, here, viewer)),
            asyncio.create_task(here.live.keep(viewer, here.watching.look)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, timeout=_LONGEST, return_when=asyncio.FIRST_COMPLETED)
            code = next((code for task in done if (code := task.result()) is not None), _GONE)
        except WebSocketDisconnect:
            return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    await socket.close(code)


async def jpegs(here: Here, camera: int) -> AsyncIterator[bytes]:
    """The pictures of one camera, the newest whenever one is taken; ends with the server, or when it is time to come anew."""
    with here.live.looking() as viewer:
        viewer.look_at(frozenset((camera,)), None)
        keeping = asyncio.create_task(here.live.keep(viewer, here.watching.look))
        ends = time.monotonic() + _LONGEST
        try:
            while time.monotonic() < ends and (one := await viewer.next()) is not None:
                if isinstance(one, Picture):
                    yield one.jpeg
        finally:
            keeping.cancel()


async def _send(socket: WebSocket, viewer: Viewer) -> None:
    while (one := await viewer.next()) is not None:
        if isinstance(one, Picture):
            await socket.send_bytes(one.message)
        else:
            await socket.send_text(one.decode())


async def _hear(socket: WebSocket, here: Here, viewer: Viewer) -> int:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text = message.get("text")
        if text is None or len(text) > _MOST_TEXT:
            return _BAD
        try:
            said = _decoder.decode(text)
        except (msgspec.ValidationError, msgspec.DecodeError):
            return _BAD
        if said.cameras is not None:
            new = frozenset(said.cameras) - viewer.cameras
            viewer.look_at(frozenset(said.cameras), said.large)
            conditions = await asyncio.to_thread(here.watching.conditions)
            for camera in sorted(new & conditions.keys()):
                how = conditions[camera]
                viewer.tell("state", camera, state_told(camera, how.state, how.last_error))
        if said.got is not None:
            viewer.got(said.got)
