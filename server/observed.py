"""Middleware around everything: each request is counted, timed and logged, with a number that its answer carries."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.server.metrics import Metrics

_log = logging.getLogger("vultus.server.access")


class Observed:
    """Tells `metrics` and the log what was asked and how it ended."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Mapping[object, str]) -> None:
        """`routes`: the path of every route, by its endpoint."""
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watching."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, number, status = time.perf_counter(), secrets.token_hex(8), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = number
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            finally:
                self._ended(scope, number, status, time.perf_counter() - begun)

    def _ended(self, scope: Scope, number: str, status: int, seconds: float) -> None:
        # Not the path itself: it may hold names, and there are endlessly many.
        route = self._routes.get(scope.get("endpoint"), "none")
        method = scope["method"] if route != "none" else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        asker = scope.get("state", {}).get("asker")
        about = {
            "request": number,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "who": None if asker is None else asker.actor,
            "from": scope["client"][0] if scope.get("client") else None,
        }
        _log.info("%s %s %d", scope["method"], route, status, extra={"about": about})
