"""What is old is deleted regularly while something runs that makes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vultus.index.errors import GalleryError
from vultus.index.retention import Pruned

_EVERY = 3600.0
"""Seconds."""


class Pruning:
    """While inside, the gallery is pruned at once and then every hour, in a thread."""

    def __init__(self, prune: Callable[[], Pruned], told: Callable[[Pruned | GalleryError], None]) -> None:
        """`told` hears what was deleted, if anything was, or why nothing could be; that is tried again."""
        self._prune, self._told = prune, told
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vultus-pruning", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                pruned = self._prune()
                if pruned:
                    self._told(pruned)
            except GalleryError as error:
                self._told(error)
            if self._end.wait(_EVERY):
                return
