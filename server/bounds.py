"""Middleware that bounds what a request may send, and how long it may take over it."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.configs.serving import Limits
from vultus.server.problems import Problem


class _Refused(HTTPException):
    """The body goes on beyond a limit. FastAPI lets this kind of exception through where it reads a body."""


class BoundedBody:
    """Ends requests whose body is too large with 413, at the latest when one byte too many came, and too slow ones with 408."""

    def __init__(self, app: ASGIApp, limits: Limits, files: tuple[str, int]) -> None:
        """`files`: how the paths begin below which single files are sent, and how large one may be."""
        self._app, self._limits, self._files = app, limits, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits, (beginning, most) = self._limits, self._files
        limit = most if scope["path"].startswith(beginning) and scope["method"] == "PUT" else limits.upload_bytes
        stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not stated.isdigit() or int(stated) > limit:
            await _problem(413, limit)(scope, receive, send)
            return
        came, more, begun = 0, True, False
        start = asyncio.get_running_loop().time()

        async def counted() -> Message:
            nonlocal came, more
            if not more:  # what is waited for now is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(start + limits.upload_seconds + came / limits.upload_rate):
                    message = await receive()
            except TimeoutError:
                raise _Refused(408) from None
            came, more = came + len(message.get("body", b"")), message.get("more_body", False)
            if came > limit:
                raise _Refused(413)
            return message

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noticed)
        except _Refused as refused:
            if begun:
                raise
            await _problem(refused.status_code, limit)(scope, receive, send)


def _problem(status: int, limit: int) -> Problem:
    headers = {"Connection": "close"}
    if status == 408:
        return Problem(408, "too-slow", "The request's body came too slowly.", headers=headers)
    return Problem(413, "too-large", f"This request may have {limit} bytes.", headers=headers)
