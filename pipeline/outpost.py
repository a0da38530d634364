"""A stage process on another host: `python -m vultus.pipeline.outpost`, started by `vultus worker` and by nobody else.

Two threads: one owns the connection and keeps answering while the other is inside the stage.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections import Counter, deque
from queue import SimpleQueue
from threading import Event
from typing import Any

from msgspec import structs

from vultus.configs.loader import network_key_file
from vultus.configs.schema import Config
from vultus.pipeline import child
from vultus.pipeline.chain import Chain
from vultus.pipeline.codec import Codec
from vultus.pipeline.errors import CodecError
from vultus.pipeline.keys import read
from vultus.pipeline.link import Link, Order
from vultus.pipeline.messages import Message
from vultus.pipeline.network import Task, pack, unpack
from vultus.pipeline.stage import Context
from vultus.pipeline.transport import Loop


class OutpostSpec(child.ChildSpec, frozen=True, kw_only=True):
    """All that it has to know; what to do, the main machine tells it."""

    address: str
    config: Config
    """This machine's: keys, and how many threads and which kernels a stage uses here."""
    factory: str
    """See `WorkerSpec`."""


class Outpost:
    """The two threads and what they share."""

    def __init__(self, spec: OutpostSpec) -> None:
        self._spec = spec
        self._loop = Loop()
        self._orders: SimpleQueue[Task | Order | None] = SimpleQueue()
        self._posted: deque[Any] = deque()
        self._codec = Codec()
        self._counts: Counter[str] = Counter()
        self._noticed: list[int] = []
        self._stopping = Event()
        self._link: Link | None = None
        self._chain: Chain | None = None
        self._opened_for: Task | None = None

    def run(self) -> int:
        """The working thread; the exit code."""
        sockets = child.socket_thread(self._loop, self._run_sockets)
        sockets.start()
        code = 0
        session = b""
        try:
            while (order := self._orders.get()) is not None:
                session = order.session
                try:
                    self._follow(order)
                except CodecError as error:
                    _say(f"refused: {error}")
                    self._give_up(session, str(error))
        except Exception as error:  # noqa: BLE001 -- told to the main machine; who started this process starts a new one
            traceback.print_exc()
            code = child.EXIT_FAILED
            self._give_up(session, f"{type(error).__name__}: {error}")
        self._post(lambda _link: self._loop.stop())
        sockets.join()
        if self._chain is not None:
            self._chain.close()
        return code

    def quit(self) -> None:
        """End; safe from a signal handler."""
        self._stopping.set()
        self._orders.put(None)

    def _follow(self, order: Task | Order) -> None:
        if isinstance(order, Task):
            self._open(order)
        else:
            self._work(order)

    def _give_up(self, session: bytes, reason: str) -> None:
        """End the session; its work is somebody else's."""
        self._post(lambda link: link.unable(session, reason))

    def _open(self, task: Task) -> None:
        """Open the stage, if it is not yet or for another task."""
        before = self._opened_for
        if before is None or (before.stage, before.config, before.models) != (task.stage, task.config, task.models):
            if self._chain is not None:
                self._chain.close()
            self._chain, self._opened_for = None, None
            module, _, function = self._spec.factory.partition(":")
            maker = importlib.import_module(module)
            config = self._own(task.config)
            self._models: dict[str, str] = maker.models(task.stage, config)
            if self._models == task.models:  # else the main machine says what is wrong
                context = Context(
                    stopping=self._stopping, report=_nobody, count=self._count, notice=self._noticed.append
                )
                self._chain = Chain([getattr(maker, function)(task.stage, config)], context)
                self._chain.open()
                self._opened_for = task
        models = self._models
        self._post(lambda link: link.able(task.session, models))

    def _own(self, config: Config) -> Config:
        """What decides answers is the main machine's; what only decides how fast they come is this one's."""
        own = self._spec.config
        return structs.replace(
            config,
            models=structs.replace(config.models, backend=own.models.backend),
            detect=structs.replace(config.detect, threads=own.detect.threads),
            embed=structs.replace(config.embed, threads=own.embed.threads, isa=own.embed.isa),
        )

    def _work(self, order: Order) -> None:
        if self._link is None or order.session != self._link.session:
            return
        if self._chain is None:
            raise CodecError("work came for a stage that is not open")
        questions: list[Message] = [self._codec.decode(parts) for parts in unpack(order.work.sizes, order.parts)]
        self._counts.clear()
        self._noticed.clear()
        found = list(self._chain.process(questions))
        packed = [self._codec.encode(answer, asked=asked) for asked, answer in zip(questions, found, strict=True)]
        sizes, parts = pack(packed)
        counts, noticed = dict(self._counts), tuple(dict.fromkeys(self._noticed))
        self._post(lambda link: link.answer(order.session, order.work.work, sizes, parts, counts, noticed))

    def _count(self, name: str, count: int = 1) -> None:
        self._counts[name] += count

    def _post(self, action: Any) -> None:
        """Run `action(link)` in the thread that owns the sockets."""
        self._posted.append(action)
        self._loop.wake()

    def _run_sockets(self) -> None:
        config = self._spec.config
        self._link = link = Link(
            self._loop,
            self._spec.address,
            config.network,
            read(network_key_file(config)),
            order=self._orders.put,
            tell=_say,
        )
        self._loop.on_file(sys.stdin.fileno(), child.parent_gone)
        self._loop.run(self._turn)
        link.close()

    def _turn(self) -> None:
        assert self._link is not None
        while self._posted:
            self._posted.popleft()(self._link)


def _nobody(_state: object) -> None:
    """Stages that run here watch no cameras."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run one such process."""
    return child.run(OutpostSpec, Outpost)


if __name__ == "__main__":
    sys.exit(main())
