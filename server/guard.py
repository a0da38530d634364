"""Middleware at the door: who asks is known, and recorded, before a route sees the request."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from vultus.server.access import LOCAL
from vultus.server.services import Services


class Guard:
    """Sets `state.asker`, and lets the gallery's audit log know it for as long as the request lasts."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._services = app, services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as somebody's."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asker = LOCAL
        scope.setdefault("state", {})["asker"] = asker
        with self._services.gallery.audit.acting(asker.actor):
            await self._app(scope, receive, send)
