"""Middleware around everything else: headers that keep browsers safe on every answer, also on that of a mistake."""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.server.problems import problem_of

_log = logging.getLogger("vultus.server")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "font-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Scripts, styles and requests of this server alone, nothing inline, and no text that becomes code or markup."""
_ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=(), payment=(), usb=(), serial=(), hid=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_A_YEAR = "max-age=31536000"
_LOOPBACK = ("localhost", "127.", "[::1]")


class Headers:
    """Sets them where the application has not, and answers 500 where it raised."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; what is sent goes out with the headers."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _dress(MutableHeaders(scope=message), scope)
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        except Exception as error:
            _log.error("%s %a failed", scope.get("method", "WebSocket"), scope["path"], exc_info=error)
            if begun:
                raise
            await problem_of(RuntimeError())(scope, receive, dressed)


def _dress(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    if scope["scheme"] in ("https", "wss"):
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        if not host.startswith(_LOOPBACK):  # a browser would remember it for other programs' ports too
            headers.setdefault("Strict-Transport-Security", _A_YEAR)
