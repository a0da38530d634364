"""Sockets, and the loop of the one thread that owns them. The only file that imports `zmq`.

Within a host (`Router`, `Dealer`) addresses are `ipc://<path>` in the job's private folder. Messages are copied as they are
sent, since pictures travel as leases: sending without a copy takes pyzmq a thread, a context and seven open files of its
own. Between hosts (`Entrance`, `Caller`) they are `tcp://`, always under CURVE. Nothing is kept for a peer that is not there:
what matters is counted by the credits of `hop`, and what was lost is handed out again by the feeder.
"""

from __future__ import annotations

import itertools
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

import zmq
from zmq.utils import z85

from vultus.pipeline.codec import MAX_ARRAY_BYTES, Part
from vultus.pipeline.errors import PipelineError

MAX_ADDRESS = 107
"""Bytes that Linux allows for the path of a Unix socket."""
_HIGH_WATER = 8192
"""More than any credit: a queue that grows to this means that the peer does not keep to the protocol."""
_LAST_WORDS_MS = 300
_A_TURN = 256
"""Messages taken from one socket before the others have their turn."""
_ZAP = "inproc://zeromq.zap.01"
_ZAP_DOMAIN = b"vultus"
_HANDSHAKE_MS = 5000
"""For the TCP connection, and for the CURVE handshake after it."""
_NETWORK_HIGH_WATER = 64
_EVENT = struct.Struct("=Hi")
_monitors = itertools.count()

NetworkHandler = Callable[[bytes, str, list[Part]], None]
"""Routing id of the connection, name of the host whose key it proved to hold, the message."""


class Loop:
    """Waits for sockets, files, timers and other threads. Everything but `wake` belongs to the thread that runs it."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._handlers: dict[object, Callable[[], None]] = {}
        self._sockets: list[zmq.Socket[bytes]] = []
        self._timers: list[_Timer] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.on_file(self._wake, self._clear_wake)
        self._running = True

    def socket(self, kind: int, handler: Callable[[], None], linger: int = 0) -> zmq.Socket[bytes]:
        """A bounded socket; `handler` runs when something can be received."""
        socket = self._context.socket(kind)
        socket.linger = linger
        socket.sndhwm = socket.rcvhwm = _HIGH_WATER
        socket.maxmsgsize = MAX_ARRAY_BYTES
        self._sockets.append(socket)
        self._handlers[socket] = handler
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def monitor(self, socket: zmq.Socket[bytes], events: int, handler: Callable[[int, int], None]) -> zmq.Socket[bytes]:
        """`handler(event, value)` hears what happens to the connections of `socket`; the caller closes what this returns."""
        address = f"inproc://monitor-{next(_monitors)}"
        socket.monitor(address, events)

        def hear() -> None:
            for parts in _receive(ear):
                handler(*_EVENT.unpack(parts[0]))

        ear = self.socket(zmq.PAIR, hear)
        ear.connect(address)
        return ear

    def close_socket(self, socket: zmq.Socket[bytes]) -> None:
        """Forget and close it."""
        self._poller.unregister(socket)
        del self._handlers[socket]
        self._sockets.remove(socket)
        socket.close()

    def on_file(self, fd: int, handler: Callable[[], None]) -> None:
        """`handler` runs when `fd` can be read, has ended or has an error."""
        self._handlers[fd] = handler
        self._poller.register(fd, zmq.POLLIN | zmq.POLLERR)

    def forget_file(self, fd: int) -> None:
        """Do not watch `fd` any more; the caller closes it."""
        self._poller.unregister(fd)
        del self._handlers[fd]

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Run `action` once, so many seconds from now."""
        self._timers.append(_Timer(time.monotonic() + delay, None, action))

    def every(self, period: float, action: Callable[[], None]) -> None:
        """Run `action` again and again."""
        self._timers.append(_Timer(time.monotonic() + period, period, action))

    def wake(self) -> None:
        """Let the loop take a turn; safe from any thread and from a signal handler."""
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False

    def run(self, each_turn: Callable[[], None]) -> None:
        """Until `stop`: wait, let handlers and timers do their work, then call `each_turn`."""
        while self._running:
            for ready, _ in self._poller.poll(self._pause_ms()):
                handler = self._handlers.get(ready)
                if handler is not None:  # an earlier handler of this turn may have closed it
                    handler()
            self._run_timers()
            each_turn()

    def close(self) -> None:
        """Close every socket; last words get a moment to leave."""
        for socket in list(self._sockets):
            self.close_socket(socket)
        self._context.term()

    def __del__(self) -> None:
        # Not in `close`: another thread may be about to call `wake`, and the number may mean another file by then.
        os.close(self._wake)

    def _pause_ms(self) -> int:
        if not self._timers:
            return -1
        left = min(timer.due for timer in self._timers) - time.monotonic()
        return max(0, int(left * 1000) + 1)

    def _run_timers(self) -> None:
        now = time.monotonic()
        due = [timer for timer in self._timers if timer.due <= now]
        for timer in due:
            if timer.period is None:
                self._timers.remove(timer)
            else:
                timer.due = now + timer.period
            timer.action()

    def _clear_wake(self) -> None:
        os.eventfd_read(self._wake)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Router:
    """The bound end: many peers, each under the name it gave itself."""

    def __init__(self, loop: Loop, address: str, handler: Callable[[str, list[Part]], None]) -> None:
        self._loop, self._handler = loop, handler
        self._socket = loop.socket(zmq.ROUTER, self._receive)
        # Without this a message to a peer that has gone would vanish silently.
        self._socket.router_mandatory = True
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            raise PipelineError(f"cannot listen on {address}: {error}") from error

    def send(self, peer: str, parts: list[Part]) -> bool:
        """Hand a message to a peer; false if it is not there."""
        try:
            self._socket.send_multipart([peer.encode(), *parts], flags=zmq.NOBLOCK)
        except (zmq.Again, zmq.ZMQError) as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                return False
            raise PipelineError(f"cannot send to {peer}: {error}") from error
        return True

    def close(self) -> None:
        """Close the socket."""
        self._loop.close_socket(self._socket)

    def _receive(self) -> None:
        for frames in _receive(self._socket):
            name, *parts = frames
            self._handler(bytes(name).decode("utf-8", "replace"), parts)


class Dealer:
    """The connecting end: one peer."""

    def __init__(
        self, loop: Loop, name: str, address: str, handler: Callable[[list[Part]], None], *, last_words: bool = False
    ) -> None:
        """`last_words`: what was sent just before `close` gets a moment to leave."""
        self._loop, self._handler = loop, handler
        self._socket = loop.socket(zmq.DEALER, self._receive, _LAST_WORDS_MS if last_words else 0)
        self._socket.routing_id = name.encode()
        self._socket.reconnect_ivl = 20
        self._socket.connect(address)

    def send(self, parts: list[Part]) -> bool:
        """Send a message, also before the peer is there; false if too many wait already."""
        try:
            self._socket.send_multipart(parts, flags=zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._loop.close_socket(self._socket)

    def _receive(self) -> None:
        for parts in _receive(self._socket):
            self._handler(parts)


class Entrance:
    """The bound end on a network: lets in who proves to hold a permitted key (CURVE, RFC 26; judged as in ZAP, RFC 27)."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        secret: str,
        permitted: Mapping[str, str],
        handler: NetworkHandler,
        denied: Callable[[], None],
        left: Callable[[], None],
        *,
        max_part: int,
    ) -> None:
        """`permitted`: by public key (Z85), the host's name. `denied` hears of each handshake that failed, whatever was wrong
        with it, `left` that some connection ended. Who sends a part above `max_part` bytes is disconnected."""
        self._loop, self._handler, self._denied, self._left = loop, handler, denied, left
        self._permitted = {z85.decode(key): name for key, name in permitted.items()}
        # First: a handshake that finds no judge would be let in.
        self._judge = loop.socket(zmq.REP, self._hear_plea)
        self._judge.bind(_ZAP)
        self._socket = socket = loop.socket(zmq.ROUTER, self._receive, _LAST_WORDS_MS)
        socket.curve_server, socket.curve_secretkey = True, secret.encode()
        socket.zap_domain = _ZAP_DOMAIN
        socket.router_mandatory = socket.ipv6 = True
        socket.sndhwm = socket.rcvhwm = _NETWORK_HIGH_WATER
        socket.maxmsgsize, socket.handshake_ivl = max_part, _HANDSHAKE_MS
        self._ear = loop.monitor(socket, _FAILED | zmq.EVENT_DISCONNECTED, self._happened)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise PipelineError(f"cannot listen at {address}: {error}") from error

    def send(self, peer: bytes, parts: list[Part]) -> bool:
        """Hand a message to a connection; false if it has ended or takes no more."""
        try:
            self._socket.send_multipart([peer, *parts], flags=zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                return False
            raise PipelineError(f"cannot send to the network: {error}") from error
        return True

    def close(self) -> None:
        """Close the sockets."""
        for socket in (self._ear, self._socket, self._judge):
            self._loop.close_socket(socket)

    def _hear_plea(self) -> None:
        for parts in _receive(self._judge):
            version, request, domain, _address, _identity, mechanism, *keys = map(bytes, parts)
            curve = domain == _ZAP_DOMAIN and mechanism == b"CURVE" and len(keys) == 1
            host = self._permitted.get(keys[0]) if curve else None
            verdict = [b"400", b"this key is not permitted", b""] if host is None else [b"200", b"", host.encode()]
            self._judge.send_multipart([version, request, *verdict, b""])

    def _happened(self, event: int, _value: int) -> None:
        (self._left if event == zmq.EVENT_DISCONNECTED else self._denied)()

    def _receive(self) -> None:
        for _ in range(_A_TURN):
            try:
                peer, *parts = self._socket.recv_multipart(flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            # What ZAP answered to this very connection; nothing that the peer says of itself.
            host = str(parts[0].get("User-Id")) if parts else ""
            self._handler(peer.bytes, host, [part.buffer for part in parts])


class Caller:
    """The connecting end on a network: one connection, which is not made anew when it ends."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        server_key: str,
        own: tuple[str, str],
        handler: Callable[[list[Part]], None],
        ended: Callable[[str], None],
    ) -> None:
        """`own`: public and secret key. `ended` hears, perhaps more than once, why there is no connection (any more)."""
        self._loop, self._handler, self._ended = loop, handler, ended
        self._socket = socket = loop.socket(zmq.DEALER, self._receive, _LAST_WORDS_MS)
        socket.curve_serverkey = server_key.encode()
        socket.curve_publickey, socket.curve_secretkey = own[0].encode(), own[1].encode()
        socket.ipv6, socket.reconnect_ivl = True, -1
        socket.sndhwm = socket.rcvhwm = _NETWORK_HIGH_WATER
        socket.connect_timeout = socket.handshake_ivl = _HANDSHAKE_MS
        self._ear = loop.monitor(socket, _FAILED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED, self._happened)
        socket.connect(address)

    def send(self, parts: list[Part]) -> bool:
        """Send a message, also before the connection is made; false if too many wait already."""
        try:
            self._socket.send_multipart(parts, flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close the sockets."""
        for socket in (self._ear, self._socket):
            self._loop.close_socket(socket)

    def _happened(self, event: int, _value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            reason = "it does not permit this machine's key"
        elif event & _FAILED:
            reason = "it holds another key than `network.main_key`, or speaks no CURVE"
        elif event == zmq.EVENT_DISCONNECTED:
            reason = "the connection ended; it went away, or does not hold `network.main_key`"
        else:
            reason = "it does not listen there, or no way leads there"
        self._ended(reason)

    def _receive(self) -> None:
        for parts in _receive(self._socket):
            self._handler(parts)


_FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


def new_keys() -> tuple[str, str]:
    """A fresh pair of CURVE keys in Z85: public, secret."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def public_key(secret: str) -> str:
    """The public key that belongs to a secret one, both in Z85. Raises ValueError for what is no key."""
    try:
        return zmq.curve_public(secret.encode()).decode()
    except zmq.ZMQError as error:
        raise ValueError("not a key in Z85") from error


class _Timer:
    """An action and when it is due."""

    __slots__ = ("action", "due", "period")

    def __init__(self, due: float, period: float | None, action: Callable[[], None]) -> None:
        self.due, self.period, self.action = due, period, action


def _receive(socket: zmq.Socket[bytes]) -> Iterator[list[Part]]:
    for _ in range(_A_TURN):
        if socket.closed:  # the handler of the last message did that
            return
        try:
            frames = socket.recv_multipart(flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        yield [frame.buffer for frame in frames]
