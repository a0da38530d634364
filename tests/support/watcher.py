"""Support for tests of live sources: the decode stage in a thread, and all that came out of it."""

import threading
import time
from collections.abc import Callable

from vultus.configs.schema import Config
from vultus.configs.schema import Decode as Limits
from vultus.pipeline.messages import Frame, Item, Message, SourceState
from vultus.stages.decode import Decode

QUICK = Config(decode=Limits(retry_first=0.2, retry_max=1.0, stall_timeout=2.0, open_timeout=3.0, motion=False))


class Watcher:
    """Runs the decode stage on live items in a thread, as a stage process would, and keeps what came out."""

    def __init__(self, surroundings: object, config: Config, *items: Item) -> None:
        self.surroundings = surroundings
        self.messages: list[Message] = []
        self._news = threading.Condition()
        self._stage = Decode(config)
        self._stage.open(surroundings.context)
        self._items = items
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            for message in self._stage.process(self._items):
                with self._news:
                    self.messages.append(message)
                    self._news.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`
            self._error = error

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> float:
        """Seconds that stopping took."""
        begin = time.monotonic()
        self.surroundings.context.stopping.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return time.monotonic() - begin

    @property
    def name(self) -> str:
        """Of the thread in which the stage works."""
        return self._thread.name

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def frames(self, item: int = 0) -> list[Frame]:
        with self._news:
            return [m for m in self.messages if isinstance(m, Frame) and m.origin.item == item]

    def wait_for(self, what: Callable[[], object], seconds: float) -> float:
        """Until `what()` is true; returns how long that took."""
        begin = time.monotonic()
        while not what():
            assert self._error is None, self._error
            left = begin + seconds - time.monotonic()
            assert left > 0, f"not within {seconds} s; states: {self.surroundings.states}"
            with self._news:
                self._news.wait(min(left, 0.05))
        return time.monotonic() - begin

    def states(self, kind: str, item: int = 0) -> list[SourceState]:
        return [state for state in self.surroundings.states if state.state == kind and state.item == item]


def item(address: str, number: int = 0, kind: str = "camera") -> Item:
    return Item(item=number, attempt=0, kind=kind, source=f"camera {number}", address=address)
