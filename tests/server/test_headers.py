"""Headers that every answer has, whoever makes it."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from vultus.server.headers import POLICY, Headers

MUST = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.mark.parametrize("path", ["/livez", "/api/v1/openapi.json", "/api/v1/nothing", "/api/v1/search"])
def test_every_answer_has_them(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert {name: answer.headers.get(name) for name in MUST} == MUST
    assert "camera=()" in answer.headers["permissions-policy"]
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers


def test_the_policy_lets_nothing_inline_and_nobody_else_in() -> None:
    assert POLICY.startswith("default-src 'none'; ")
    assert not any(word in POLICY for word in ("unsafe", "*", "http:", "https:"))


async def called(app: Any, scheme: str, host: str) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "scheme": scheme, "headers": [(b"host", host.encode())]}
    await Headers(app)(scope, receive, send)
    return sent


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [(b"cache-control", b"private, max-age=60")]})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("scheme", "host", "strict"),
    [("https", "vultus.example", True), ("https", "localhost:8470", False), ("http", "vultus.example", False)],
)
def test_https_stays_https_but_not_on_loopback(scheme: str, host: str, strict: bool) -> None:
    headers = dict(asyncio.run(called(empty, scheme, host))[0]["headers"])
    assert (b"strict-transport-security" in headers) is strict
    assert headers[b"cache-control"] == b"private, max-age=60"


def test_a_mistake_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("the secret of it")

    start, body = asyncio.run(called(broken, "http", "localhost"))
    assert start["status"] == 500
    assert dict(start["headers"])[b"content-security-policy"] == POLICY.encode()
    assert b"secret" not in body["body"]
    assert "the secret of it" in caplog.text
