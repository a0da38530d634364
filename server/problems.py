"""Errors as problem details (RFC 9457): one shape for everything that goes wrong, and which error is which status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketState

from vultus.configs.address import redact_text
from vultus.index import errors as gallery
from vultus.pipeline.errors import RefusedInput
from vultus.server import errors as own
from vultus.stages.reach import Forbidden
from vultus.weights.errors import UnknownModel

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """Ends a request with this answer.

    `kind` is the stable name that programs tell problems by (`urn:vultus:KIND`), `detail` a sentence for people.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.extra = dict(headers or {}), dict(extra or {})

    def response(self) -> JSONResponse:
        """It as an answer."""
        body = {
            "type": f"urn:vultus:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with it, as middleware does."""
        await self.response()(scope, receive, send)


_OF_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (gallery.UnknownIdentity, 404, "unknown-person"),
    (gallery.UnknownFace, 404, "unknown-face"),
    (gallery.UnknownDenial, 404, "unknown-denial"),
    (gallery.UnknownSighting, 404, "unknown-sighting"),
    (UnknownModel, 404, "unknown-model"),
    (gallery.GalleryNotFound, 404, "no-gallery"),
    (gallery.NameTaken, 409, "name-taken"),
    (gallery.CannotUndo, 409, "cannot-undo"),
    (gallery.Denied, 409, "denied"),
    (gallery.ModelMismatch, 409, "other-model"),
    (gallery.NotInDatabase, 501, "not-in-database"),
    (gallery.GalleryBusy, 503, "gallery-busy"),
    (gallery.GalleryUnreachable, 503, "gallery-unreachable"),
    (gallery.StorageError, 507, "storage"),
    (RefusedInput, 422, "refused-picture"),
    (own.UnknownUser, 404, "unknown-user"),
    (own.UnknownKey, 404, "unknown-key"),
    (own.NameInUse, 409, "name-taken"),
    (own.LastAdmin, 409, "last-admin"),
    (own.WeakPassword, 422, "weak-password"),
    (Forbidden, 422, "address-refused"),
    (own.VaultError, 503, "secrets"),
)
"""The first that fits; a ValueError of ours that is not among them is 422."""


def problem_of(error: Exception) -> Problem:
    """What an exception of vultus is to a caller."""
    if isinstance(error, Problem):
        return error
    text = redact_text(" ".join(str(error).split()))
    for kind, status, name in _OF_ERRORS:
        if isinstance(error, kind):
            return Problem(status, name, text, headers={"Retry-After": "1"} if status == 503 else None)
    if isinstance(error, ValueError) and type(error).__module__.startswith(("vultus.", "builtins")):
        return Problem(422, "invalid", text)
    return Problem(500, "internal", "The server made a mistake; its log has the details.")


def add_handlers(
    app: FastAPI, methods: Callable[[str], set[str]], page: Callable[[Request, Problem], Response]
) -> None:
    """Let every error of a route become a problem, and a `page` for browsers that ask for none of the API.

    `methods` tells which ones a path knows.
    """

    async def ours(connection: Request | WebSocket, error: Exception) -> Any:
        problem = problem_of(error)
        if isinstance(connection, WebSocket) and connection.application_state is WebSocketState.CONNECTED:
            await connection.close(1008 if problem.status < 500 else 1011, problem.detail[:100])
            return None
        return problem.response()

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        headers = error.headers
        if error.status_code == 405 and (known := methods(request.url.path)):
            headers = {"Allow": ", ".join(sorted(known))}  # Starlette tells those of the first route of several
        problem = Problem(error.status_code, kind, str(error.detail), headers=headers)
        return page(request, problem) if _by_a_person(request) else problem.response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        wrong = [
            {"where": ".".join(str(part) for part in one["loc"]), "what": one["msg"]} for one in error.errors()[:20]
        ]
        first = f"{wrong[0]['where']}: {wrong[0]['what']}" if wrong else "the request is not as described"
        return Problem(422, "invalid", first, extra={"errors": wrong}).response()

    for kind in (Problem, RefusedInput, gallery.GalleryError, own.ServerError, UnknownModel, ValueError):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _by_a_person(request: Request) -> bool:
    """Whether a browser asks for a page: programs do not name HTML, and below /api/ nothing is one."""
    named = "text/html" in request.headers.get("accept", "").lower()
    return named and request.method in ("GET", "HEAD") and not request.url.path.startswith("/api/")
