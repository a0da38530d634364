"""Middleware that bounds what a request may send."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.server.problems import Problem


class _TooLarge(HTTPException):
    """The body goes on beyond the limit. FastAPI lets this kind of exception through where it reads a body."""


class BoundedBody:
    """Ends requests whose body is larger than allowed with 413, at the latest when one byte too many came."""

    def __init__(self, app: ASGIApp, limit: int, files: tuple[str, int]) -> None:
        """`files`: how the paths begin below which single files are sent, and how large one may be."""
        self._app, self._limit, self._files = app, limit, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        beginning, most = self._files
        limit = most if scope["path"].startswith(beginning) and scope["method"] == "PUT" else self._limit
        stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not stated.isdigit() or int(stated) > limit:
            await _refusal(limit)(scope, receive, send)
            return
        came, begun = 0, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limit:
                raise _TooLarge(413)
            return message

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noticed)
        except _TooLarge:
            if begun:
                raise
            await _refusal(limit)(scope, receive, send)


def _refusal(limit: int) -> Problem:
    return Problem(413, "too-large", f"This request may have {limit} bytes.", headers={"Connection": "close"})
