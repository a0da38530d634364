"""Support for tests with bad cameras: between a client and a real RTSP server, which it makes misbehave on command.

Knows of RTSP what it takes to tell replies from packets (RFC 2326, 10.12: `$`, channel, length) and of RTP where sequence
number and timestamp stand (RFC 3550, 5.1). A fault gets what the server sent piece by piece and returns what goes on in its
place; it can be changed at any moment, and connections that have fallen silent stay so.
"""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True)
class Piece:
    """A reply, or a packet on a channel; even channels carry RTP, odd ones RTCP."""

    data: bytes
    """A reply with its headers, or a packet without its frame."""
    channel: int | None = None

    @property
    def is_rtp(self) -> bool:
        """Whether it carries a piece of picture."""
        return self.channel is not None and self.channel % 2 == 0

    @property
    def wire(self) -> bytes:
        """As the server sent it."""
        return framed(self.data, self.channel)


def framed(data: bytes, channel: int | None) -> bytes:
    """A packet in its frame; a reply as it is."""
    return data if channel is None else struct.pack(">cBH", b"$", channel, len(data)) + data


class Silence(Exception):
    """Send these last bytes, and then nothing more for as long as the client stays."""


class Flood(Exception):
    """Send these bytes again and again for as long as the client stays."""


Fault = Callable[[Piece], bytes]


def whole(piece: Piece) -> bytes:
    """No fault."""
    return piece.wire


def half_a_packet(piece: Piece) -> bytes:
    """Of the next packet, the frame says all of it, and half of it comes; the socket stays open."""
    if piece.is_rtp:
        raise Silence(piece.wire[: len(piece.wire) // 2])
    return piece.wire


def half_a_frame(piece: Piece) -> bytes:
    """Whole packets up to the middle of a picture, the socket stays open."""
    if piece.is_rtp and not piece.data[1] & 0x80:  # its marker would be the end of the picture
        raise Silence(piece.wire)
    return piece.wire


def garbage(rand: np.random.Generator, kept: int = 12) -> Fault:
    """RTP as it should be around random bytes; with `kept` = 14 each packet says truly what it holds."""

    def fault(piece: Piece) -> bytes:
        if not piece.is_rtp:
            return piece.wire
        return framed(piece.data[:kept] + rand.bytes(len(piece.data) - kept), piece.channel)

    return fault


def noise(rand: np.random.Generator) -> Fault:
    """Random bytes without any frame."""
    return lambda piece: rand.bytes(len(piece.data)) if piece.is_rtp else piece.wire


def damaged(rand: np.random.Generator, share: float) -> Fault:
    """Of the packets, `share` have a bit flipped; as many each are lost, come twice, or come after the one behind them."""
    held: list[bytes] = []

    def fault(piece: Piece) -> bytes:
        if not piece.is_rtp:
            return piece.wire
        late = held.pop() if held else b""
        what = int(rand.random() / share)
        if what == 0:
            data = bytearray(piece.data)
            bit = int(rand.integers(12 * 8, len(data) * 8))
            data[bit // 8] ^= 1 << bit % 8
            return framed(bytes(data), piece.channel) + late
        if what == 1:
            return late
        if what == 3 and not late:
            held.append(piece.wire)
            return b""
        return piece.wire * (2 if what == 2 else 1) + late

    return fault


def lossy(rand: np.random.Generator, share: float) -> Fault:
    """A share of the packets is lost."""
    return lambda piece: b"" if piece.is_rtp and rand.random() < share else piece.wire


def times(change: Callable[[int], int]) -> Fault:
    """Another timestamp (90 000 a second, modulo 2³²) on each packet."""

    def fault(piece: Piece) -> bytes:
        if not piece.is_rtp:
            return piece.wire
        (old,) = struct.unpack(">I", piece.data[4:8])
        return framed(piece.data[:4] + struct.pack(">I", change(old) & 0xFFFFFFFF) + piece.data[8:], piece.channel)

    return fault


def replies(answer: bytes | Callable[[], bytes], *, endless: bool = False) -> Fault:
    """Every reply is replaced; with `endless` what is given is sent again and again."""

    def fault(piece: Piece) -> bytes:
        if piece.channel is not None:
            return piece.wire
        given = answer if isinstance(answer, bytes) else answer()
        if endless:
            raise Flood(given)
        return given

    return fault


def absurd_length(piece: Piece) -> bytes:
    """Frames that promise 65 535 bytes on channels that nobody set up, and bring ten."""
    return b"$\x09\xff\xff" + piece.data[:10] if piece.is_rtp else piece.wire


def refused(status: str, *headers: str) -> Fault:
    """Every reply becomes this one; a `Location` among the headers sends the client elsewhere."""
    return replies("\r\n".join([f"RTSP/1.0 {status}", "CSeq: 1", *headers, "", ""]).encode())


class RtspProxy:
    """Listens on loopback until closed; a context manager. `fault` is what happens now, to all its clients alike.

    Over UDP it stands between both sides as well, and faults see packets as channel 0 or 1.
    """

    def __init__(self, upstream: int) -> None:
        self.fault: Fault = whole
        self.clients = 0
        """How many came so far."""
        self._upstream = upstream
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def url(self, address: str) -> str:
        """The server's address, through here."""
        return address.replace(f":{urlsplit(address).port}/", f":{self.port}/")

    def hang_up(self) -> None:
        """On everybody who is connected now."""
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "RtspProxy":
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for one in [self._listener, *self._sockets]:
            one.close()

    def _start(self, what: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=what, args=given, name=f"proxy {what.__name__}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.clients += 1
            self._sockets.append(client)
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._sockets.append(server)
            relay = _Datagrams(self)
            self._start(self._requests, client, server, relay)
            self._start(self._answers, server, client, relay)

    def _requests(self, client: socket.socket, server: socket.socket, relay: "_Datagrams") -> None:
        """From client to server."""
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(relay.asked(data))
        for one in (server, client):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        relay.close()

    def _answers(self, server: socket.socket, client: socket.socket, relay: "_Datagrams") -> None:
        with suppress(OSError):
            for piece in _pieces(server):
                try:
                    client.sendall(
                        self.fault(Piece(relay.answered(piece.data), None) if piece.channel is None else piece)
                    )
                except Silence as last:
                    client.sendall(last.args[0])
                    while server.recv(65536):
                        pass
                    break
                except Flood as flood:
                    while True:
                        client.sendall(flood.args[0])
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _pieces(server: socket.socket) -> Iterator[Piece]:
    with server.makefile("rb") as stream:
        while first := stream.read(1):
            if first == b"$":
                channel, length = struct.unpack(">BH", stream.read(3))
                yield Piece(stream.read(length), channel)
                continue
            head = first
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                if not line:
                    return
                head += line
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            yield Piece(head + (stream.read(int(length.group(1))) if length else b""))


class _Datagrams:
    """Two ports towards the server in place of the client's, and what arrives there goes on through the fault."""

    def __init__(self, proxy: RtspProxy) -> None:
        self._proxy = proxy
        self._ports: list[socket.socket] = []
        self._client: tuple[int, ...] = ()

    def asked(self, data: bytes) -> bytes:
        """A request, in which the client's ports become ours."""
        named = re.search(rb"client_port=(\d+)-(\d+)", data)
        if named is None:
            return data
        self._client = tuple(map(int, named.groups()))
        self._ports = _pair()
        for channel in (0, 1):
            self._proxy._start(self._pass_on, channel)
        return data.replace(named.group(), b"client_port=%d-%d" % tuple(one.getsockname()[1] for one in self._ports))

    def answered(self, data: bytes) -> bytes:
        """A reply, in which our ports become the client's again."""
        return re.sub(rb"client_port=\d+-\d+", b"client_port=%d-%d" % self._client, data) if self._client else data

    def close(self) -> None:
        """The client has left."""
        for one in self._ports:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, channel: int) -> None:
        port, to = self._ports[channel], ("127.0.0.1", self._client[channel])
        with port, suppress(OSError):
            while not self._proxy._over.is_set():
                try:
                    data = port.recv(65536)
                except TimeoutError:
                    continue
                if data and (piece := self._proxy.fault(Piece(data, channel))):
                    for packet in _unframed(piece):
                        port.sendto(packet, to)


def _unframed(data: bytes) -> Iterator[bytes]:
    while data[:1] == b"$":
        (length,) = struct.unpack(">H", data[2:4])
        yield data[4 : 4 + length]
        data = data[4 + length :]


def _pair() -> list[socket.socket]:
    """Two ports of which the first is even and the second follows."""
    while True:
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first.bind(("127.0.0.1", 0))
        number = first.getsockname()[1]
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if number % 2:
                raise OSError
            second.bind(("127.0.0.1", number + 1))
        except OSError:
            first.close()
            second.close()
            continue
        for one in (first, second):
            one.settimeout(0.5)
        return [first, second]
