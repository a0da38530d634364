"""Runs the application on a socket until it is told to stop."""

from __future__ import annotations

import gc
import os
import signal
import socket
import ssl
from types import FrameType

import anyio.to_thread
import uvicorn

from vultus.configs.schema import Config
from vultus.configs.serving import Serve
from vultus.server.app import create_app
from vultus.server.errors import CannotListen, WrongSetup
from vultus.server.protocol import HEADER_BYTES, protocol
from vultus.server.services import Services

_THREADS = 32
"""For requests that take no place."""


def bound(config: Config) -> socket.socket:
    """The socket that the configuration names, listening. Raises CannotListen (an OSError)."""
    host, port = config.serve.host, config.serve.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise CannotListen(f"cannot listen at {config.serve.listen}: {os.strerror(error.errno or 0)}") from error


def tls(serve: Serve) -> ssl.SSLContext | None:
    """What https needs, if it is configured. Raises WrongSetup (a ValueError)."""
    if serve.tls_certificate is None or serve.tls_key is None:
        return None

    def no_password() -> bytes:
        raise WrongSetup(f"serve.tls_key: {serve.tls_key} is encrypted; write it without a password (openssl pkey)")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever this machine's OpenSSL allows
    try:
        context.load_cert_chain(serve.tls_certificate, serve.tls_key, no_password)
    except ssl.SSLError as error:
        what = error.reason or "not PEM"
        raise WrongSetup(
            f"serve.tls_certificate, serve.tls_key: {serve.tls_certificate}, {serve.tls_key}: {what}"
        ) from None
    except OSError as error:
        raise WrongSetup(
            f"serve.tls_certificate, serve.tls_key: {error.strerror}: give files that can be read"
        ) from None
    return context


class Server(uvicorn.Server):
    """Answers on a socket that is bound already; SIGINT and SIGTERM let what is being answered end first."""

    def __init__(self, services: Services) -> None:
        """Raises WrongSetup (a ValueError)."""
        self._services = services
        serve = services.config.serve
        config = uvicorn.Config(
            create_app(services),
            http=protocol(serve),
            loop="asyncio",  # uvloop, where it is installed, answered no more requests a second, and aborts connections later
            h11_max_incomplete_event_size=HEADER_BYTES,
            ws_max_size=65_536,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(serve.proxies),
            forwarded_allow_ips=list(serve.proxies),
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
            lifespan="off",
            # Pictures are JPEGs: deflating them costs much and gives nothing.
            ws_per_message_deflate=False,
        )
        config.load()
        config.ssl = tls(serve)
        super().__init__(config)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Stop. uvicorn would raise the signal again at the end, and SIGTERM end the process before anything is given back."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, with threads for all who have a place, and some for everybody else."""
        limits = self._services.config.serve.limits
        anyio.to_thread.current_default_thread_limiter().total_tokens = limits.at_once + limits.searches + _THREADS
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there stays, and a search for what nobody needs any more would hold up all answers for 0.1 s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; streams, which would never end, end first."""
        self._services.feed.hang_up()
        self._services.live.hang_up()
        await super().shutdown(sockets)
