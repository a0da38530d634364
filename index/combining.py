"""Callers who wait at the same time are answered together.

A pass over a large index costs little more for several probes than for one, and the way through the interpreter is not
shorter for being gone fifty times at once. So only as many searches run at a time as there are processors. Who comes when
all are busy waits, and whoever's turn comes takes along all who wait for the same, and brings them their answers. Nobody
waits for others to come: a caller who is alone is answered at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence, Sized
from typing import Generic, TypeVar

_Given = TypeVar("_Given", bound=Sized)
_Answer = TypeVar("_Answer", bound=Sized)


class _Caller(Generic[_Given, _Answer]):
    """Somebody who waits."""

    __slots__ = ("answer", "given", "key", "leads", "told")

    def __init__(self, key: Hashable, given: _Given) -> None:
        self.key = key
        self.given = given
        self.told = threading.Event()
        """Set when there is an answer, when it is this one's turn, or when the answer for all has failed."""
        self.leads = False
        """Whether it is this one's turn."""
        self.answer: _Answer | None = None


class Combiner(Generic[_Given, _Answer]):
    """Answers callers, those with the same key together if they wait at the same time. May be used from several threads."""

    def __init__(self, at_once: int, most: int) -> None:
        """Make `at_once` answers at a time, and one for several callers only if they give `most` things or fewer."""
        self._most = most
        self._lock = threading.Lock()
        self._free = self._at_once = at_once
        self._waiting: deque[_Caller[_Given, _Answer]] = deque()

    def ask(self, key: Hashable, given: _Given, answer: Callable[[list[_Given]], Sequence[_Answer]]) -> _Answer:
        """Return what `answer` makes of what is given, perhaps together with what others gave.

        For equal keys `answer` has to do the same. Raises what it raises for this caller alone.
        """
        me = _Caller[_Given, _Answer](key, given)
        if self._has_to_wait(me):
            me.told.wait()
        else:
            me.leads = True
        if me.leads:
            self._lead(me, answer)
        return answer([given])[0] if me.answer is None else me.answer

    def _has_to_wait(self, me: _Caller[_Given, _Answer]) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return False
            self._waiting.append(me)
            return True

    def _lead(self, me: _Caller[_Given, _Answer], answer: Callable[[list[_Given]], Sequence[_Answer]]) -> None:
        """Get the answers of all who wait for the same; if that fails, each has to get its own."""
        together = [me]
        try:
            together += self._taken_along(me)
            for one, its in zip(together, answer([one.given for one in together]), strict=True):
                one.answer = its
        except Exception:
            if len(together) == 1:
                raise
        finally:
            self._pass_on()
            for one in together[1:]:
                one.told.set()

    def _taken_along(self, me: _Caller[_Given, _Answer]) -> list[_Caller[_Given, _Answer]]:
        """Take those who wait for the same out of the row, from its front."""
        taken, left, total = list[_Caller[_Given, _Answer]](), list[_Caller[_Given, _Answer]](), len(me.given)
        with self._lock:
            share = -(-len(self._waiting) // self._at_once)  # so that nobody's answer waits for all the others'
            for one in self._waiting:
                if one.key == me.key and len(taken) < share and total + len(one.given) <= self._most:
                    taken.append(one)
                    total += len(one.given)
                else:
                    left.append(one)
            self._waiting.clear()
            self._waiting.extend(left)
        return taken

    def _pass_on(self) -> None:
        """Let the next one have its turn."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            following = self._waiting.popleft()
        following.leads = True
        following.told.set()
