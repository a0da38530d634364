"""What `vultus watch` watches: the sources it began with, and what joins them while it runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from msgspec import Struct

from vultus.cli.console import say
from vultus.configs.errors import ConfigError
from vultus.configs.schema import Source
from vultus.pipeline.messages import Item
from vultus.pipeline.supervisor import Pipeline
from vultus.stages.sources import Found, Unusable, find

_LOOK = 1.0
"""Seconds between two looks into the folders."""
_SHARE = 0.1
"""Of the time, at most so much goes into looking: a folder of a hundred thousand files is walked more rarely."""


class Change(Struct, frozen=True, kw_only=True):
    """What a new list of sources means."""

    joined: tuple[Item, ...]
    left: tuple[int, ...]
    """Numbers of live items."""
    refused: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


class WatchList:
    """Sources as numbered items. Belongs to one thread at a time."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._sources = sources
        self._number = 0
        self._live: dict[str, list[int]] = {}
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

    def change(self, sources: tuple[Source, ...]) -> Change:
        """From now on these; a source that is not exactly as it was leaves and joins anew."""
        before = {source.label: source for source in self._sources}
        after = {source.label: source for source in sources}
        gone = [label for label, source in before.items() if after.get(label) != source]
        new = [source for label, source in after.items() if before.get(label) != source]
        left = [number for label in gone for number in self._live.pop(label, [])]
        self._sources = sources
        joined: list[Item] = []
        refused: list[str] = []
        for found in find(new):
            if isinstance(found, Unusable):
                refused.append(f"{found.source}: {found.reason}")
            else:
                joined.append(self._item(found))
        return Change(
            joined=tuple(joined),
            left=tuple(left),
            refused=tuple(refused),
            added=tuple(source.label for source in new if source.label not in before),
            removed=tuple(label for label in gone if label not in after),
            changed=tuple(label for label in gone if label in after),
        )

    def _item(self, found: Found) -> Item:
        self._number += 1
        if found.kind in ("camera", "webcam", "paced"):
            self._live.setdefault(found.source, []).append(self._number)
        self._taken.add(_state(found))
        return found.item(self._number)


class Following:
    """While inside, what joins: files that come into folders, and sources of the configuration at SIGHUP or a request."""

    def __init__(
        self, watched: WatchList, pipeline: Pipeline, read: Callable[[], tuple[Source, ...]] | None, *, files: bool
    ) -> None:
        """`files`: whether to look for further ones.

        `read` gives the configuration's sources again, or raises ConfigError; none if there is no configuration.
        """
        self._watched, self._pipeline, self._read = watched, pipeline, read
        self._files = files
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = self._asked = False
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)
        self._before: Any = None

    def __enter__(self) -> Following:
        self._pipeline.reload = self.reload
        self._before = signal.signal(signal.SIGHUP, self._hang_up) if self._read is not None else None
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._read is not None:
            signal.signal(signal.SIGHUP, self._before)
        self._over = True
        self._wake.set()
        self._thread.join()

    def reload(self) -> dict[str, Any]:
        """Read the sources again and watch those; what changed, or why nothing did. From any thread."""
        if self._read is None:
            return {"error": "its sources came from the command line, not from a configuration"}
        with self._lock:
            try:
                sources = self._read()
            except ConfigError as error:
                return {"error": str(error)}
            if not sources:
                return {"error": "the configuration lists no sources any more"}
            change = self._watched.change(sources)
            refused = list(change.refused)
            for number in change.left:
                self._pipeline.remove(number)
            for item in change.joined:
                try:
                    self._pipeline.add(item)
                except ValueError as error:
                    refused.append(f"{error}; restart to watch it")
            return {"added": change.added, "removed": change.removed, "changed": change.changed, "refused": refused}

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        self._wake.set()

    def _follow(self) -> None:
        pause = _LOOK
        while True:
            self._wake.wait(pause if self._files else None)
            self._wake.clear()
            if self._over:
                return
            if self._asked:
                self._asked = False
                tell_change(self.reload())
            if not self._files:
                continue
            begun = time.monotonic()
            with self._lock:
                for item in self._watched.fresh():
                    self._pipeline.add(item)
            pause = max(_LOOK, (time.monotonic() - begun) / _SHARE)


def tell_change(answer: dict[str, Any]) -> None:
    """What a reload did, as lines for the person at the terminal."""
    if "error" in answer:
        say(f"not reloaded: {answer['error']}", style="yellow")
        return
    changes = [f"{word} {name}" for word in ("added", "removed", "changed") for name in answer[word]]
    say(f"reloaded: {'; '.join(changes) or 'nothing changed'}")
    for refused in answer["refused"]:
        say(f"refused: {refused}", style="yellow")


def _state(found: Found) -> tuple[str, int, int]:
    return found.address, found.size, found.mtime_ns


def _is_folder(source: Source) -> bool:
    return "://" not in source.address and os.path.isdir(os.path.expanduser(source.address))
