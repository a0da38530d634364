"""The description of the API, for programs that make clients of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from vultus.server.access import PUBLIC

router = APIRouter(dependencies=[PUBLIC])


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request) -> JSONResponse:
    """OpenAPI. Made when it is asked for first, in a thread, since everybody else's answers would wait for it."""
    described: dict[str, Any] = request.app.openapi()
    return JSONResponse(described)
