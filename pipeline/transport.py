"""Sockets, and the loop of the one thread that owns them. The only file that imports `zmq`.

Addresses are `ipc://<path>` in the job's private folder. Nothing is kept for a peer that is not there: what matters is
counted by the credits of `hop`, and what was lost is handed out again by the feeder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType

import zmq

from vultus.pipeline.codec import MAX_ARRAY_BYTES, Part
from vultus.pipeline.errors import PipelineError

MAX_ADDRESS = 107
"""Bytes that Linux allows for the path of a Unix socket."""
_HIGH_WATER = 8192
"""More than any credit: a queue that grows to this means that the peer does not keep to the protocol."""
_LAST_WORDS_MS = 300
_A_TURN = 256
"""Messages taken from one socket before the others have their turn."""


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
            self._socket.send_multipart([peer.encode(), *parts], flags=zmq.NOBLOCK, copy=False)
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
            self._socket.send_multipart(parts, flags=zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._loop.close_socket(self._socket)

    def _receive(self) -> None:
        for parts in _receive(self._socket):
            self._handler(parts)


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
