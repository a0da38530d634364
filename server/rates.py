"""How often one caller may ask, and how many streams one address may hold."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

_MOST = 20_000
"""Callers that are remembered; one that is forgotten begins with a full bucket."""


class Rates:
    """A bucket of `burst` tokens for each caller, filled with `rate` a second; a request takes one. One thread's only."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._of: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, who: Hashable) -> float:
        """Take a token; seconds until there is one, if there is none."""
        now = self._clock()
        level, then = self._of.get(who, (float(self._burst), now))
        level = min(float(self._burst), level + (now - then) * self._rate)
        self._of[who] = (level - 1.0 if level >= 1.0 else level, now)
        self._of.move_to_end(who)
        if len(self._of) > _MOST:
            self._of.popitem(last=False)
        return 0.0 if level >= 1.0 else (1.0 - level) / self._rate


class Streams:
    """Connections that stay open, counted by address. One thread's only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[Hashable] = Counter()

    def full(self, who: Hashable) -> bool:
        """Whether this address has as many as it may."""
        return self._open[who] >= self._most

    @contextmanager
    def hold(self, who: Hashable) -> Iterator[None]:
        """One more while inside."""
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
