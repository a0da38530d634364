"""Where a request comes from: its address, the name it calls this server by, and whether a page elsewhere made it."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import HTTPConnection

from vultus.configs.serving import Serve

_SAFE = ("GET", "HEAD", "OPTIONS")


def address_of(connection: HTTPConnection) -> str:
    """The caller's address; "unknown" for what a proxy believed and is none."""
    return _address(connection.client.host if connection.client else "")


@lru_cache(1000)
def _address(host: str) -> str:
    try:
        found = ip_address(host)
    except ValueError:
        return "unknown"
    return str(found.ipv4_mapped or found) if isinstance(found, IPv6Address) else str(found)


def household(address: str) -> str:
    """What limits count by: an IPv4 address, or the network of an IPv6 one, of which everybody has many."""
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


class Names:
    """By which names browsers may call the server.

    A page elsewhere can let its own name point to this machine (DNS rebinding), and would then be of the same origin; so
    names have to be known. Numbers cannot be pointed elsewhere: they are good wherever the server listens.
    """

    def __init__(self, serve: Serve) -> None:
        self._loopback = serve.on_loopback
        own = () if serve.on_loopback else (socket.gethostname(),)
        self._names = {name.lower() for name in ("localhost", serve.host, *serve.hosts, *own)}

    def good(self, host: str) -> bool:
        """Whether a `Host` header is one of ours."""
        name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        if name.lower().removesuffix(".") in self._names:
            return True
        try:
            return ip_address(name).is_loopback or not self._loopback
        except ValueError:
            return False


def from_elsewhere(connection: HTTPConnection) -> bool:
    """Whether a page of another origin makes this request through its visitor's browser.

    Browsers say so in headers that pages cannot change: `Sec-Fetch-Site` (to https and to loopback) and, with what
    may change something, `Origin`. Programs send neither. Following a link to a page is no such request.
    """
    headers, method = connection.headers, connection.scope.get("method")
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        follows = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return not (follows and method in _SAFE and not connection.url.path.startswith("/api/"))
    origin = headers.get("origin")
    if origin is None or method in _SAFE:
        return False
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    return origin.lower() != f"{scheme}://{headers.get('host', '').lower()}"


def changes(connection: HTTPConnection) -> bool:
    """Whether the request may change something."""
    return connection.scope["type"] == "http" and connection.scope["method"] not in _SAFE
