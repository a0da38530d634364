"""Where an address may lead that somebody typed into the server: not into this machine, nor to what answers beside it.

Whoever may name a camera or a webhook could otherwise let this machine ask services that trust it. A name is looked up
here, and the connection made to the address that was found and judged, so that a name which means something else a
moment later (DNS rebinding) gains nothing; and it is looked up and judged again before every connection.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from vultus.configs.serving import Networks

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
"""Of a camera's address without one, by scheme."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_METADATA = {
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
}
"""Where clouds answer every machine in them: AWS and others, AWS by IPv6, Alibaba, Azure, Oracle."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOST = 4096
_SETTING = "serve.cameras.networks"
_FORMATS = (
    "rtsp,sdp,rtp,mpegts,mpjpeg,mjpeg,jpeg_pipe,flv,live_flv,h264,hevc,m4v,mpeg,mpegvideo,asf,avi,ogg,"
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
)
"""What a camera may send: no playlists (HLS, DASH), which name further addresses that nobody has judged."""
_PROTOCOLS = "rtsp,rtsps,http,https,rtmp,rtmps,tcp,tls,udp,rtp,srtp,crypto"
_PLAYLISTS = (".m3u8", ".m3u", ".mpd")


def host(address: str) -> str | None:
    """Whom an address names."""
    try:
        return urlsplit(address).hostname
    except ValueError:  # brackets of an IPv6 address that do not match
        return None


class Forbidden(ValueError):
    """An address leads where it must not; the text says where and what allows it, without passwords."""


class UnknownHost(OSError):
    """The name of a host is not known, or cannot be looked up now."""

    __str__ = Exception.__str__


def allowed_addresses(host: str, port: int, networks: Networks, setting: str) -> list[str]:
    """Literal addresses of a host that may be connected to, at least one; `setting` is the key of `networks`.

    Raises Forbidden if there is none among those it has, or the name is none; UnknownHost. A name server may be waited for.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (_HOST.fullmatch(bare) or _is_ipv6(bare)):
        raise Forbidden("this is no name or address of a host")
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise UnknownHost(f"the host name {bare} is not known") from None
    judged = {text: _why_not(ipaddress.ip_address(text.partition("%")[0]), networks) for text in found}
    good = sorted((text for text, why in judged.items() if why is None), key=lambda text: (":" in text, text))
    if not good:
        what = next(f"{text} is {why}" for text, why in sorted(judged.items()))
        led = "" if bare in found else f"{bare} leads to "
        raise Forbidden(f"{led}{what}, where this must not lead unless {setting} allows it")
    return good


def check_camera(address: str, networks: Networks) -> None:
    """Whether the address of a camera may be connected to, as it is known now. Raises Forbidden; an unknown host passes."""
    parts, port = _parsed(address)
    try:
        allowed_addresses(parts.hostname or "", port, networks, _SETTING)
    except UnknownHost:
        return  # a camera that is off has no name in many networks; it is judged before every connection


def pinned(address: str, networks: Networks) -> tuple[str, dict[str, str]]:
    """The same with a judged literal address in place of the host's name, and the options that hold FFmpeg to it.

    Raises Forbidden, UnknownHost.
    """
    parts, port = _parsed(address)
    host = parts.hostname or ""
    literal = allowed_addresses(host, port, networks, _SETTING)[0]
    login = parts.netloc.rpartition("@")[0]
    where = f"[{literal}]" if ":" in literal else literal
    place = f"{login}@{where}:{port}" if login else f"{where}:{port}"
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": _PROTOCOLS}
    if parts.scheme.startswith("http"):
        named = parts.netloc.rpartition("@")[2]
        options |= {"max_redirects": "0", "headers": f"Host: {named}\r\n"}
    return parts._replace(netloc=place, fragment="").geturl(), options


def connections() -> dict[str, str]:
    """The other ends of this process's TCP connections, by the inode of the socket, as the kernel knows them."""
    own = set()
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):  # closed just now
            own.add(os.readlink(entry.path).removeprefix("socket:[").removesuffix("]"))
    found = {}
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        with suppress(FileNotFoundError), open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and fields[9] in own:
                    words = bytes.fromhex(fields[2].partition(":")[0])
                    turned = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                    found[fields[9]] = str(ipaddress.ip_address(turned))
    return found


def check_connections(before: Collection[str], networks: Networks) -> None:
    """Judge the connections that came since `before` was their inodes: RTSP servers redirect, and FFmpeg follows.

    Raises Forbidden.
    """
    for inode, text in connections().items():
        why = None if inode in before else _why_not(ipaddress.ip_address(text), networks)
        if why is not None:
            raise Forbidden(f"its server sent us on to {text}, {why}, where this must not lead")


def _parsed(address: str) -> tuple[SplitResult, int]:
    """Refuses all that two readers of addresses could understand differently."""
    if len(address) > _MOST or re.search(r"[\x00-\x20\x7f\\]", address):
        raise Forbidden("an address has no spaces, backslashes or control characters, and at most 4096 characters")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise Forbidden("this is no address of a camera") from None
    if parts.scheme not in PORTS:
        raise Forbidden(f"addresses of cameras begin with one of {', '.join(f'{name}://' for name in PORTS)}")
    if port == 0:
        raise Forbidden("no camera listens at port 0")
    if parts.path.lower().endswith(_PLAYLISTS):
        raise Forbidden("playlists (HLS, DASH) may lead anywhere; such a camera belongs into the configuration file")
    return parts, port or PORTS[parts.scheme]


def _why_not(address: _Address, networks: Networks) -> str | None:
    """What an address is that nobody may be led to; none if it is fine."""
    every = [address, *_within(address)]
    if _in(every, networks.refused):
        return "in a network that the configuration refuses"
    if all(_in([one], networks.allowed) for one in every):
        return None
    return next((why for one in every if (why := _special(one)) is not None), None)


def _special(address: _Address) -> str | None:
    if address in _METADATA:
        return "the metadata service of a cloud"
    for what, name in (
        (address.is_loopback, "this machine itself"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_unspecified or _zero(address), "no address"),
        (address.is_reserved and not isinstance(address, ipaddress.IPv6Address), "a reserved address"),
        (_is_own(address), "this machine itself"),
    ):
        if what:
            return name
    return None


def _within(address: _Address) -> Iterable[_Address]:
    """IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        teredo = address.teredo
        nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        low = int(address) if 1 < int(address) < 1 << 32 else None  # the deprecated ::192.0.2.1
        compatible = None if low is None else ipaddress.IPv4Address(low)
        for one in (address.ipv4_mapped, address.sixtofour, nat64, compatible, *(teredo or ())):
            if one is not None:
                yield one


def _in(addresses: Iterable[_Address], networks: Iterable[str]) -> bool:
    listed = [ipaddress.ip_network(text) for text in networks]
    return any(address in network for address in addresses for network in listed)


def _zero(address: _Address) -> bool:
    return isinstance(address, ipaddress.IPv4Address) and int(address) >> 24 == 0


def _is_own(address: _Address) -> bool:
    """Whether an interface of this machine has it: then, and only then, a socket can be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text
