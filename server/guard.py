"""Middleware at the door: who asks and from where is known, bounded and recorded before a route sees the request."""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection, Hashable
from contextlib import ExitStack

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.server.accounts import Visit, nobody
from vultus.server.problems import Problem
from vultus.server.protocol import HEADER_BYTES
from vultus.server.rates import Rates, Streams
from vultus.server.services import Services
from vultus.server.visitors import Names, address_of, changes, from_elsewhere, household

_LOOKED_AGAIN = 2.0
"""Whether a stream's session still goes on is looked up so often, in seconds, at most."""


class Guard:
    """Sets `state.asker`, `.session`, `.address` and `.hold_stream`, or answers itself."""

    def __init__(self, app: ASGIApp, services: Services, public: Collection[tuple[str, str]]) -> None:
        """`public`: methods and paths below /api/ that answer before anybody is signed in."""
        limits = services.config.serve.limits
        self._app, self._services, self._public = app, services, public
        self._names = Names(services.config.serve)
        self._rates, self._streams = Rates(limits.rate, limits.burst), Streams(limits.streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as somebody's."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        address = address_of(connection)
        try:
            visit = await self._admitted(connection, address)
        except Problem as problem:
            await problem(scope, receive, send)
            return
        actor = visit.asker.actor if visit.asker else "nobody"
        with ExitStack() as held, self._services.gallery.audit.acting(actor, via=address):

            def hold_stream() -> None:
                if self._streams.full(household(address)):
                    raise Problem(429, "too-many-streams", "Too many streams to this address are open already.")
                held.enter_context(self._streams.hold(household(address)))

            scope.setdefault("state", {}).update(
                asker=visit.asker, session=visit.session, address=address, hold_stream=hold_stream
            )
            watched = _Watched(visit, send)
            try:
                await self._app(scope, receive, watched)
            except Exception:
                if not watched.ended:
                    raise

    async def _admitted(self, connection: HTTPConnection, address: str) -> Visit:
        if sum(len(name) + len(value) for name, value in connection.scope["headers"]) > HEADER_BYTES:
            raise Problem(431, "headers-too-large", f"The headers may have {HEADER_BYTES} bytes altogether.")
        host = connection.headers.get("host", "")
        if not self._names.good(host):
            raise Problem(
                421, "unknown-host", f"This server is not called {host!a:.100}; serve.hosts names what it is called."
            )
        by_program = "authorization" in connection.headers
        if not by_program and from_elsewhere(connection):
            raise Problem(403, "cross-site", "This request was made by a page of another origin.")
        visit = await self._services.accounts.visit(connection, address)
        asker = visit.asker
        shared = asker is None or asker.kind == "local"
        who: Hashable = household(address) if asker is None or shared else (asker.kind, asker.id)
        if (wait := self._rates.take(who)) > 0:
            raise Problem(429, "too-often", "Too many requests.", headers={"Retry-After": str(int(wait) + 1)})
        if asker is None and self._closed(connection):
            raise nobody()
        if visit.session is not None and changes(connection) and not _signs_in(connection):
            brought = connection.headers.get("x-csrf-token", "")
            if not hmac.compare_digest(brought.encode(), visit.session.csrf.encode()):
                raise Problem(403, "csrf", "The header X-CSRF-Token has to bring the `csrf` of GET /api/v1/session.")
        return visit

    def _closed(self, connection: HTTPConnection) -> bool:
        """Whether a request by nobody ends here: before its body is read, and whatever its route asks for."""
        path, method = connection.scope["path"], connection.scope.get("method", "")
        return path.startswith("/api/") and (method, path) not in self._public


def _signs_in(connection: HTTPConnection) -> bool:
    """Whoever knows the password needs no session, so none that is there is asked for its token."""
    return (connection.scope["method"], connection.scope["path"]) == ("POST", "/api/v1/session")


class _Watched:
    """Sends on, and ends what goes on for longer than the session or key that it was begun with."""

    def __init__(self, visit: Visit, send: Send) -> None:
        self._visit, self._send = visit, send
        self._looked = time.monotonic()
        self.ended = False

    async def __call__(self, message: Message) -> None:
        """Send a message on, or the last one instead."""
        if self._visit.asker is not None and time.monotonic() - self._looked > _LOOKED_AGAIN:
            self._looked = time.monotonic()
            begun = message["type"] in ("http.response.body", "websocket.send")
            if begun and not self._visit.good():
                self.ended = True
                if message["type"] == "websocket.send":
                    await self._send({"type": "websocket.close", "code": 1008, "reason": "signed out"})
                else:
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                raise _SignedOut
        await self._send(message)


class _SignedOut(Exception):
    """Ends the route of a stream."""
