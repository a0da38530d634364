"""Slowing down whoever guesses passwords or keys."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from msgspec import Struct

_MOST = 20_000
"""Subjects that are remembered; the one that tried longest ago is forgotten first."""


class _Tried(Struct):
    times: int
    until: float
    """Nothing more before that."""
    last: float


class Attempts:
    """So many wrong attempts are free; after that each has to wait, twice as long every time, up to `longest` seconds.

    An attempt counts when it begins, so that many at once are no way around; one that was right takes it back. After
    an hour without any all is forgotten. One thread's only.
    """

    def __init__(self, longest: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest, self._clock = longest, clock
        self._of: OrderedDict[Hashable, _Tried] = OrderedDict()

    def begin(self, subjects: dict[Hashable, int]) -> float:
        """An attempt that concerns these subjects, each with so many free attempts.

        Seconds that it has to wait: 0 lets it go on, and only then it counts.
        """
        now = self._clock()
        known = {who: tried for who in subjects if (tried := self._of.get(who)) and now - tried.last < 3600.0}
        wait = max((tried.until - now for tried in known.values()), default=0.0)
        if wait > 0:
            return wait
        for who, free in subjects.items():
            tried = known.get(who) or _Tried(0, 0.0, now)
            tried.times, tried.last = tried.times + 1, now
            if tried.times >= free:
                tried.until = now + min(self._longest, 2.0 ** (tried.times - free))
            self._of[who] = tried
            self._of.move_to_end(who)
        while len(self._of) > _MOST:
            self._of.popitem(last=False)
        return 0.0

    def right(self, who: Hashable) -> None:
        """The attempt that began was right, so it was none; those before it still count."""
        if tried := self._of.get(who):
            tried.times, tried.until = tried.times - 1, 0.0

    def forget(self, who: Hashable) -> None:
        """The count begins anew."""
        self._of.pop(who, None)
