"""Sources that are watched, as numbered items: what there is, what comes into folders, and what a new list means."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct

from vultus.configs.schema import Source
from vultus.pipeline.messages import Item
from vultus.stages.sources import Found, Unusable, find


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


def _state(found: Found) -> tuple[str, int, int]:
    return found.address, found.size, found.mtime_ns


def _is_folder(source: Source) -> bool:
    return "://" not in source.address and os.path.isdir(os.path.expanduser(source.address))
