"""Runs the application on a socket until it is told to stop."""

from __future__ import annotations

import os
import socket

import uvicorn

from vultus.configs.schema import Config
from vultus.server.app import create_app
from vultus.server.errors import CannotListen
from vultus.server.services import Services


def bound(config: Config) -> socket.socket:
    """The socket that the configuration names, listening. Raises CannotListen (an OSError)."""
    host, port = config.serve.host, config.serve.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise CannotListen(f"cannot listen at {config.serve.listen}: {os.strerror(error.errno or 0)}") from error


class Server(uvicorn.Server):
    """Answers on a socket that is bound already; SIGINT and SIGTERM let what is being answered end first."""

    def __init__(self, services: Services) -> None:
        self._services = services
        super().__init__(
            uvicorn.Config(
                create_app(services),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=10,
                lifespan="off",
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; streams, which would never end, end first."""
        self._services.feed.hang_up()
        await super().shutdown(sockets)
