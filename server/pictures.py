"""Faces as JPEG answers: private, remembered by the browser, and veiled where `privacy` says so."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request, Response

from vultus.server.services import Services
from vultus.stages.chip import veiled

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}, "description": "The picture"},
    304: {"description": "The same as the one of If-None-Match"},
}


def answer(here: Services, request: Request, jpeg: bytes, name: str | None, *, hidden: bool) -> Response:
    """Answer with the picture of a face of the person `name`, or that it is the one which the caller has."""
    if here.veil.over(name, hidden=hidden):
        jpeg = veiled(jpeg)
    tag = f'"{hashlib.blake2b(jpeg, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(jpeg, media_type="image/jpeg", headers=headers)
