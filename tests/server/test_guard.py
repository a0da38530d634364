"""Streams end with the session that they were begun with."""

import asyncio
from typing import Any

import pytest

from vultus.server import guard
from vultus.server.accounts import Visit
from vultus.server.guard import _Watched
from vultus.server.roles import LOCAL


@pytest.mark.parametrize(
    ("message", "last"),
    [
        ({"type": "http.response.body", "body": b"data", "more_body": True}, {"body": b"", "more_body": False}),
        ({"type": "websocket.send", "bytes": b"data"}, {"type": "websocket.close", "code": 1008}),
    ],
)
def test_what_goes_on_ends_when_the_session_has(
    message: dict[str, Any], last: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_LOOKED_AGAIN", -1.0)
    sent: list[Any] = []
    good = True

    async def send(message: Any) -> None:
        sent.append(message)

    async def scene() -> None:
        nonlocal good
        watched = _Watched(Visit(asker=LOCAL, good=lambda: good), send)
        await watched(message)
        assert sent == [message]
        good = False
        with pytest.raises(guard._SignedOut):
            await watched(message)
        assert watched.ended

    asyncio.run(scene())
    assert last.items() <= sent[-1].items()
    assert len(sent) == 2
