"""Requests that wait for the same at the same time are answered together: one way into a thread and back for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from vultus.index.codes import set_threads

_Given = TypeVar("_Given")
_Answer = TypeVar("_Answer")


class _Asked(Generic[_Given, _Answer]):
    """A request that waits."""

    __slots__ = ("answer", "answered", "given", "key")

    def __init__(self, key: Hashable, given: _Given, answer: Callable[[list[_Given]], Sequence[Any]]) -> None:
        self.key, self.given, self.answer = key, given, answer
        self.answered: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()


class Together(Generic[_Given, _Answer]):
    """A context manager with a few threads. What is async belongs to the server's event loop.

    A thread for each request would have them all fight for the interpreter with the event loop, when a search that
    they waited for is done. Nobody waits for others to come: a request that finds a free thread is answered at once.
    """

    def __init__(self, at_once: int, most: int) -> None:
        """Make `at_once` answers at a time, each for `most` requests or fewer."""
        self._free = self._at_once = at_once
        self._most = most
        self._waiting: deque[_Asked[_Given, _Answer]] = deque()
        self._due: asyncio.Handle | None = None
        self._threads: ThreadPoolExecutor

    def __enter__(self) -> Self:
        # Several are under way at a time, so none needs more than one processor.
        self._threads = ThreadPoolExecutor(self._at_once, "together", partial(set_threads, 1))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._threads.shutdown()

    async def ask(
        self, key: Hashable, given: _Given, answer: Callable[[list[_Given]], Sequence[_Answer | Exception]]
    ) -> _Answer:
        """Return what `answer` makes of what is given, perhaps together with what others gave, in a thread.

        For equal keys `answer` has to do the same. An exception in its place in the row is raised here; one that is
        raised by `answer` for several has each asked for alone.
        """
        one = _Asked[_Given, _Answer](key, given, answer)
        self._waiting.append(one)
        if self._due is None:  # when those who came in the same turn of the event loop have been heard
            self._due = asyncio.get_running_loop().call_soon(self._go_on)
        return await one.answered

    def _go_on(self) -> None:
        self._due = None
        while self._free and self._waiting:
            together = self._taken()
            self._free -= 1
            work = asyncio.get_running_loop().run_in_executor(self._threads, _answers, together)
            work.add_done_callback(partial(self._tell, together))

    def _taken(self) -> list[_Asked[_Given, _Answer]]:
        """Take the first out of the row, and those behind who wait for the same."""
        share = min(self._most, -(-len(self._waiting) // self._free))  # so that nobody waits for all the others
        taken, left = list[_Asked[_Given, _Answer]](), list[_Asked[_Given, _Answer]]()
        for one in self._waiting:
            fits = not taken or (one.key == taken[0].key and len(taken) < share)
            (taken if fits else left).append(one)
        self._waiting.clear()
        self._waiting.extend(left)
        return taken

    def _tell(self, together: list[_Asked[_Given, _Answer]], work: asyncio.Future[list[_Answer | Exception]]) -> None:
        self._free += 1
        self._go_on()  # before those who are told now can ask again
        for one, found in zip(together, work.result(), strict=True):
            if one.answered.done():  # nobody waits for it any more
                continue
            if isinstance(found, Exception):
                one.answered.set_exception(found)
            else:
                one.answered.set_result(found)


def _answers(together: list[_Asked[_Given, _Answer]]) -> list[_Answer | Exception]:
    try:
        return list(together[0].answer([one.given for one in together]))
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer of whoever asked
        if len(together) == 1:
            return [error]
        return [alone for one in together for alone in _answers([one])]
