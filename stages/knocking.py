"""Whether it is worth while to try a camera again, asked more cheaply than by trying."""

from __future__ import annotations

import re
import socket
import time
from urllib.parse import SplitResult, urlsplit

from vultus.configs.serving import Networks
from vultus.stages import confined
from vultus.stages.reach import PORTS

_STATUS = re.compile(rb"RTSP/\d\.\d +(\d\d\d)\b")
_MOST = 64
"""Bytes of an answer that are looked at."""


def answers(address: str, within: float, networks: Networks | None = None, *, stream: bool = False) -> bool:
    """Whether somebody takes a TCP connection there and, at `rtsp://`, answers as a camera does.

    With `stream` it has to answer that there is one at this path, or to want a password first. `within` is
    in seconds; `networks` as in `video.listen`. Other protocols than RTSP are not asked for a stream: then the answer is no.
    """
    end = time.monotonic() + within
    try:
        parts = urlsplit(confined.target(address, networks)[0])
        scheme = parts.scheme.lower()
        if stream and scheme != "rtsp":
            return False
        port = parts.port or PORTS.get(scheme, 0)
        with socket.create_connection((parts.hostname or "", port), timeout=within) as camera:
            return scheme != "rtsp" or _describes(camera, parts, end, stream=stream)
    except (OSError, ValueError):  # ValueError: of an address that is none
        return False


def known(name: str) -> bool:
    """Whether a host's name leads somewhere."""
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return False
    return True


def _describes(camera: socket.socket, parts: SplitResult, end: float, *, stream: bool) -> bool:
    """Ask for the stream's description (RFC 2326, 10.2), without user and password, and read the first line."""
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    camera.sendall(f"DESCRIBE {bare} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n".encode())
    said = b""
    while len(said) < _MOST and b"\r\n" not in said:
        camera.settimeout(max(0.001, end - time.monotonic()))
        more = camera.recv(_MOST - len(said))
        if not more:
            break
        said += more
    status = _STATUS.match(said)
    return status is not None and (not stream or status[1] in (b"200", b"401"))
