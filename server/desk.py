"""How much is worked on at once: so many places, a bounded queue before them, and a limit to everybody's patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from vultus.configs.serving import Limits
from vultus.server.problems import Problem

Kind = Literal["pictures", "searches"]


class Desk:
    """Belongs to the server's event loop. Waiting costs no thread, so light requests are answered meanwhile."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places = {"pictures": asyncio.Semaphore(limits.at_once), "searches": asyncio.Semaphore(limits.searches)}
        self.waiting = 0
        """Who waits now."""
        self.working = 0
        """Who is worked for now."""
        self.turned_away = 0
        """How many were answered with 503 since the start."""

    @asynccontextmanager
    async def place(self, kind: Kind = "pictures") -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises Problem, a 503 with Retry-After, if too many wait or for too long.

        Pictures keep a processor busy, so few are worked on at once; searches for vectors that are there already wait for
        each other, and those that wait are answered together (`vultus.server.together`).
        """
        places = self._places[kind]
        if places.locked() and self.waiting >= self._limits.waiting:
            raise self._full("so many requests wait already that yours would wait too long")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._limits.patience):
                await places.acquire()
        except TimeoutError:
            raise self._full(f"no turn within {self._limits.patience:g} seconds") from None
        finally:
            self.waiting -= 1
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1
            places.release()

    def _full(self, why: str) -> Problem:
        self.turned_away += 1
        return Problem(503, "overloaded", f"The server is busy: {why}.", headers={"Retry-After": "2"})
