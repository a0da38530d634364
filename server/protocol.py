"""HTTP on one connection as uvicorn speaks it, which by itself waits for ever until somebody's headers are there."""

from __future__ import annotations

import asyncio
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from vultus.configs.serving import Serve

HEADER_BYTES = 32_768
"""Of all headers of a request together; uvicorn bounds only those that come in pieces, `Guard` all of them."""


class Bounded(H11Protocol):
    """Closes connections whose headers take too long, and those beyond so many of one address."""

    def __init__(self, serve: Serve, **settings: Any) -> None:
        super().__init__(**settings)
        self._limits = serve.limits
        self._proxies = serve.proxies
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the headers."""
        super().connection_made(transport)
        if self._too_many():
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on, if this is no whole head yet; between requests it is uvicorn that waits."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._limits.header_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_many(self) -> bool:
        if self.client is None or any(ip_address(self.client[0]) in ip_network(proxy) for proxy in self._proxies):
            return False
        own, most = self.client[0], self._limits.connections
        clients = [getattr(other, "client", None) for other in self.connections]
        return len([client for client in clients if client is not None and client[0] == own]) > most


def protocol(serve: Serve) -> Any:
    """What uvicorn takes for `http`."""
    return partial(Bounded, serve)
