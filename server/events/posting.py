"""One attempt to hand something to a webhook's receiver."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from http import HTTPStatus
from typing import Literal
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


async def post(url: str, body: bytes, headers: dict[str, str], rules: Webhooks) -> Answer:
    """Send it, within `rules.timeout` from the first look at the name to the status of the answer.

    The connection is made to the address that was judged, whatever the name means a moment later; redirects are not followed,
    and of the answer nothing is read but its head.
    """
    try:
        async with asyncio.timeout(rules.timeout):
            return await _post(url, body, headers, rules)
    except TimeoutError:
        return Answer(outcome="away", reason=f"no answer within {rules.timeout:g} seconds")
    except Forbidden as error:
        return Answer(outcome="refused", reason=str(error))
    except UnknownHost as error:
        return Answer(outcome="away", reason=str(error))
    except httpx.ConnectError as error:
        certificate = "certificate" in str(error).lower()
        return Answer(outcome="away", reason="its certificate is not trusted" if certificate else "no connection")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Answer(outcome="away", reason=f"the connection failed ({type(error).__name__})")


async def _post(url: str, body: bytes, headers: dict[str, str], rules: Webhooks) -> Answer:
    host, port = _parts(url)
    literals = await asyncio.to_thread(allowed_addresses, host, port, rules.networks, _SETTING)
    named = httpx.URL(url)
    request = httpx.Request(
        "POST",
        named.copy_with(host=literals[0], fragment=None),
        content=body,
        headers={
            "Host": named.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "vultus-webhook",
            **headers,
        },
        extensions={
            "sni_hostname": host,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), rules.timeout),
        },
    )
    async with httpx.AsyncClient(verify=_trust(), trust_env=False, follow_redirects=False) as client:
        answer = await client.send(request, stream=True)
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
