"""A worker's way to the main machine: one session after another, for ever, with growing pauses while there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import uniform
from time import monotonic

from msgspec import Struct

from vultus.configs.schema import Network
from vultus.pipeline.codec import Part, PlainCodec
from vultus.pipeline.errors import CodecError
from vultus.pipeline.keys import Keys
from vultus.pipeline.network import Able, Alive, Answer, Knock, Refused, Said, Task, ToHost, Unable, Work
from vultus.pipeline.transport import Caller, Loop

ANSWER_WITHIN = 15.0
"""Seconds for connection, handshake and the first answer."""
SILENT_BEATS = 10
"""Heartbeats of the main machine after which it counts as gone; at least `LEAST_SILENCE` seconds."""
LEAST_SILENCE = 5.0


class Order(Struct, frozen=True):
    """Work of a session, for the thread that does it."""

    session: bytes
    work: Work
    parts: list[Part]


class Link:
    """Belongs to the thread that runs the loop."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        network: Network,
        keys: Keys,
        *,
        order: Callable[[Task | Order], None],
        tell: Callable[[str], None],
    ) -> None:
        """`order` is handed tasks and work; `tell` says in words how the connection is, when that changes."""
        self._loop, self._address, self._network, self._keys = loop, address, network, keys
        self._order, self._tell = order, tell
        self._plain = PlainCodec[ToHost](ToHost)
        self._caller: Caller | None = None
        self._task: Task | None = None
        self._heard = self._since = 0.0
        self._said = self._told = self._failures = 0
        self._state = ""
        self._call()

    @property
    def session(self) -> bytes:
        """Of the task at hand; empty without one."""
        return self._task.session if self._task is not None else b""

    def able(self, session: bytes, models: dict[str, str]) -> None:
        """The stage is open."""
        if session and session == self.session:
            self._say(Able(session=session, seq=self._next(), models=models))
            self._now(f"works for {self._address}")

    def unable(self, session: bytes, reason: str) -> None:
        """The stage is not open, or has raised."""
        if session and session == self.session:
            self._say(Unable(session=session, seq=self._next(), reason=reason[:2000]))

    def answer(
        self,
        session: bytes,
        work: int,
        sizes: tuple[int, ...],
        parts: list[Part],
        counts: dict[str, int],
        noticed: tuple[int, ...],
    ) -> None:
        """A batch is done; an answer to a session that is over goes nowhere, since its work is somebody else's now."""
        if not session or session != self.session:
            return
        answer = Answer(session=session, seq=self._next(), work=work, sizes=sizes, counts=counts, noticed=noticed)
        self._say(answer, parts)

    def close(self) -> None:
        """Hang up."""
        if self._caller is not None:
            self._caller.close()
            self._caller = None
        self._task = None

    def _call(self) -> None:
        self.close()
        self._said = self._told = 0
        self._since = self._heard = monotonic()
        network = self._network
        assert network.main_key is not None
        caller = Caller(
            self._loop,
            self._address,
            network.main_key,
            (self._keys.public, self._keys.secret),
            self._received,
            lambda reason: self._lost(caller, reason),
        )
        self._caller = caller
        self._say(Knock(pid=os.getpid()))
        self._loop.after(ANSWER_WITHIN, lambda: self._impatient(caller))

    def _impatient(self, caller: Caller) -> None:
        if self._task is None:
            self._lost(caller, "it does not answer")

    def _lost(self, caller: Caller, reason: str) -> None:
        """The connection is of no use any more: call again later."""
        if caller is not self._caller:
            return
        self.close()
        network = self._network
        pause = min(network.retry_max, network.retry_first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._now(f"not connected to {self._address}: {reason}; tried again for ever")
        # Not all workers of a host at once.
        self._loop.after(pause * uniform(0.8, 1.0), self._call)  # noqa: S311 -- no secret

    def _received(self, parts: list[Part]) -> None:
        caller = self._caller
        if caller is None:
            return
        try:
            self._take(caller, self._plain.decode(parts[:1]), parts[1:])
        except CodecError as error:
            self._lost(caller, f"what it says cannot be understood: {error}")

    def _take(self, caller: Caller, said: Task | Said | Refused, parts: list[Part]) -> None:
        self._heard = monotonic()
        if isinstance(said, Refused):
            self._lost(caller, said.reason)
        elif isinstance(said, Task):
            if self._task is not None or parts:
                raise CodecError("a second task in one session")
            self._task, self._failures = said, 0
            self._beat(said)
            self._order(said)
        else:
            if said.session != self.session or said.seq != self._said + 1:
                raise CodecError(f"message {said.seq} came after {self._said}")
            self._said = said.seq
            if isinstance(said, Work):
                self._order(Order(said.session, said, parts))

    def _beat(self, task: Task) -> None:
        """Show that this side lives as long as the session does, and notice when the other does not."""
        if self._task is not task or self._caller is None:
            return
        silent = monotonic() - self._heard
        if silent > max(LEAST_SILENCE, SILENT_BEATS * task.heartbeat):
            self._lost(self._caller, f"it gave no sign of life for {silent:.0f} s")
            return
        self._say(Alive(session=task.session, seq=self._next()))
        self._loop.after(task.heartbeat, lambda: self._beat(task))

    def _next(self) -> int:
        self._told += 1
        return self._told

    def _say(self, message: Knock | Said, parts: list[Part] | None = None) -> None:
        if self._caller is not None and not self._caller.send([*self._plain.encode(message), *(parts or [])]):
            self._lost(self._caller, "it takes nothing any more")

    def _now(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._tell(state)
