"""What `vultus watch` watches: the sources it began with, and what joins them while it runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vultus.configs.schema import Source
from vultus.pipeline.messages import Item
from vultus.pipeline.supervisor import Pipeline
from vultus.stages.sources import Found, Unusable, find

_LOOK = 1.0
"""Seconds between two looks into the folders."""
_SHARE = 0.1
"""Of the time, at most so much goes into looking: a folder of a hundred thousand files is walked more rarely."""


class WatchList:
    """Sources as numbered items. Belongs to one thread at a time."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._sources = sources
        self._number = 0
        self._taken: set[tuple[str, int, int]] = set()
        self._growing: dict[str, tuple[int, int]] = {}

    @property
    def folders(self) -> bool:
        """Whether there is one, into which further files may come."""
        return any(_is_folder(source) for source in self._sources)

    def begin(self) -> Iterator[Item | Unusable]:
        """Everything there is now."""
        for found in find(self._sources):
            yield found if isinstance(found, Unusable) else self._item(found)

    def fresh(self) -> Iterator[Item]:
        """Files that came into the folders, or changed, and are whole: of the same size and time at two looks."""
        before, self._growing = self._growing, {}
        taken, self._taken = self._taken, set()  # what is gone is forgotten
        for found in find(source for source in self._sources if _is_folder(source)):
            if isinstance(found, Unusable):
                continue
            if _state(found) in taken:
                self._taken.add(_state(found))
            elif found.size and before.get(found.address) == (found.size, found.mtime_ns):
                yield self._item(found)
            else:
                self._growing[found.address] = (found.size, found.mtime_ns)

    def _item(self, found: Found) -> Item:
        self._number += 1
        self._taken.add(_state(found))
        return found.item(self._number)


@contextmanager
def following(watched: WatchList | None, pipeline: Pipeline) -> Iterator[None]:
    """While inside, files that come into the folders of `watched` are given to the pipeline, which runs endlessly."""
    if watched is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(watched, pipeline, over), name="folders", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(watched: WatchList, pipeline: Pipeline, over: threading.Event) -> None:
    pause = _LOOK
    while not over.wait(pause):
        begun = time.monotonic()
        for item in watched.fresh():
            pipeline.add(item)
        pause = max(_LOOK, (time.monotonic() - begun) / _SHARE)


def _state(found: Found) -> tuple[str, int, int]:
    return found.address, found.size, found.mtime_ns


def _is_folder(source: Source) -> bool:
    return "://" not in source.address and os.path.isdir(os.path.expanduser(source.address))
