"""Hands messages to the receiver of a webhook."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from http import HTTPStatus
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from vultus.configs.serving import Webhooks
from vultus.stages.reach import Forbidden, UnknownHost, allowed_addresses

Outcome = Literal["delivered", "refused", "away", "gone"]
"""Taken; not taken, because of what it is or how it was sent; nobody there or busy; never again (410)."""
_AWAY = {408, 425, 429, 502, 503, 504}
_SETTING = "serve.webhooks.networks"
_LONGEST_URL = 2_000
_LONGEST_ANSWER = 65_536
"""Bytes of an answer that are read, and thrown away."""


class Answer(Struct, frozen=True, kw_only=True):
    """What became of an attempt."""

    outcome: Outcome
    status: int | None = None
    reason: str
    """In words, without anything that the receiver sent."""
    retry_after: float = 0.0


def checked(url: str, rules: Webhooks) -> None:
    """Refuse an address that no webhook can have: ValueError, and Forbidden for where it must not lead."""
    host, port = _parts(url)
    try:
        allowed_addresses(host, port, rules.networks, _SETTING)
    except UnknownHost:
        return  # it may be there later; every attempt looks again


class Line:
    """A line to one receiver, for a few messages one after the other; a context manager.

    The name is looked up and judged when the line is first used, and connections go to the address that was judged, whatever
    the name means a moment later. Redirects are not followed.
    """

    def __init__(self, url: str, rules: Webhooks) -> None:
        self._url, self._rules = url, rules
        self._client = httpx.AsyncClient(verify=_trust(), trust_env=False, follow_redirects=False)
        self._literal: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a message, and have its answer, within `rules.timeout` seconds."""
        try:
            async with asyncio.timeout(self._rules.timeout):
                return await self._post(body, headers)
        except TimeoutError:
            return Answer(outcome="away", reason=f"no answer within {self._rules.timeout:g} seconds")
        except Forbidden as error:
            return Answer(outcome="refused", reason=str(error))
        except UnknownHost as error:
            return Answer(outcome="away", reason=str(error))
        except httpx.ConnectError as error:
            certificate = "certificate" in str(error).lower()
            return Answer(outcome="away", reason="its certificate is not trusted" if certificate else "no connection")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Answer(outcome="away", reason=f"the connection failed ({type(error).__name__})")

    async def _post(self, body: bytes, headers: dict[str, str]) -> Answer:
        host, port = _parts(self._url)
        if self._literal is None:
            found = await asyncio.to_thread(allowed_addresses, host, port, self._rules.networks, _SETTING)
            self._literal = found[0]
        named, limit = httpx.URL(self._url), self._rules.timeout
        request = httpx.Request(
            "POST",
            named.copy_with(host=self._literal, fragment=None),
            content=body,
            headers={
                "Host": named.netloc.decode("ascii"),
                "Content-Type": "application/json",
                "User-Agent": "vultus-webhook",
                **headers,
            },
            extensions={
                "sni_hostname": host,
                "timeout": dict.fromkeys(("connect", "read", "write", "pool"), limit),
            },
        )
        answer = await self._client.send(request, stream=True)
        try:
            got = 0
            async for chunk in answer.aiter_raw():  # to the end, so that the connection can be used again
                got += len(chunk)
                if got > _LONGEST_ANSWER:
                    break
        finally:
            await answer.aclose()
        return _judged(answer)


def _judged(answer: httpx.Response) -> Answer:
    status = answer.status_code
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "no status of HTTP"
    told = answer.headers.get("retry-after", "")
    later = float(told) if told.isascii() and told.isdigit() and len(told) < 7 else 0.0
    outcome: Outcome = "refused"
    if 200 <= status < 300:
        outcome = "delivered"
    elif status == HTTPStatus.GONE:
        outcome = "gone"
    elif status in _AWAY:
        outcome = "away"
    return Answer(outcome=outcome, status=status, reason=f"{status} {phrase}", retry_after=later)


def _parts(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise Forbidden("this is no address of a web server") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > _LONGEST_URL or port == 0:
        raise Forbidden(
            f"a webhook's address begins with https:// or http://, and has {_LONGEST_URL} characters at most"
        )
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


@cache
def _trust() -> ssl.SSLContext:
    """The authorities that the operating system trusts, so that a private one can be added there."""
    return ssl.create_default_context()
