"""What a stage keeps of each item, where an item may be begun again before it has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from vultus.pipeline.messages import Origin

T = TypeVar("T")


class Attempts(Generic[T]):
    """One state an item, of the latest attempt that was seen. What is kept of an item goes with `drop`."""

    def __init__(self, begin: Callable[[Origin, T | None], T]) -> None:
        """`begin(origin, former)` makes the state of a new attempt; `former` is that of the one before, if any."""
        self._begin = begin
        self._kept: dict[int, tuple[int, T]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, origin: Origin) -> T | None:
        """The state of the item, begun if its attempt is new; none if that attempt was given up for a later one."""
        kept = self._kept.get(origin.item)
        if kept is None or kept[0] < origin.attempt:
            kept = origin.attempt, self._begin(origin, None if kept is None else kept[1])
            self._kept[origin.item] = kept
        return kept[1] if kept[0] == origin.attempt else None

    def drop(self, item: int) -> None:
        """The item has ended."""
        del self._kept[item]
