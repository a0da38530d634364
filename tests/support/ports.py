"""Ports for servers of tests."""

import secrets
import socket
from pathlib import Path

_FIRST, _LEAST_END = 10_000, 20_000


def free_port() -> int:
    """A port of the loopback that nobody has, below those that the kernel gives to connections.

    Of those, a port whose server was killed may go to somebody's connection, even to that of a client that tries to reach it
    there, which then is connected to itself; and the server cannot come back.
    """
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _FIRST + secrets.randbelow(max(given, _LEAST_END) - _FIRST)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
