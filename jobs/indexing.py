"""Indexing an archive: which files are still to be read, what became of each, and the unknown people at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from vultus.configs.loader import data_folder
from vultus.configs.schema import Config, Source
from vultus.index.configured import open_gallery
from vultus.index.types import KnownFile
from vultus.pipeline.messages import Item, ItemDone, SourceState, WorkerState
from vultus.pipeline.supervisor import Pipeline
from vultus.stages.gallery import unknown_threshold
from vultus.stages.landmarks import landmark_models
from vultus.stages.sources import Found, Unusable, find
from vultus.weights import Registry


class Listener:
    """What is told of a run while it goes on, in the thread that runs it; this one keeps it to itself."""

    def refused(self, source: str, reason: str) -> None:
        """A file cannot be used."""

    def unlabelled(self, source: str) -> None:
        """A photo's faces were stored without the name of its folder: it is unclear which is meant."""

    def state(self, state: SourceState | WorkerState) -> None:
        """A stage process died, or a worker of another machine came or went."""

    def advanced(self) -> None:
        """The counts have changed."""


class Summary(Struct, frozen=True, kw_only=True):
    """The figures of a run, under the names that scripts rely on."""

    files: int
    done: int
    already: int
    """In the gallery before, and unchanged since."""
    refused: int
    faces: int
    unlabelled: int
    unknown_people: int
    """How many the gallery has now."""
    seconds: float


class Indexing:
    """One run over an archive. A run that was stopped or killed is gone on with by another one over the same sources."""

    def __init__(
        self,
        config: Config,
        sources: tuple[Source, ...],
        listener: Listener,
        *,
        label_from_folder: bool = False,
        retry_refused: bool = False,
    ) -> None:
        self._config, self._sources, self._listener = config, sources, listener
        self._label, self._retry = label_from_folder, retry_refused
        self._started = time.monotonic()
        self._known: Mapping[str, KnownFile] = {}
        self._pipeline: Pipeline | None = None
        self._stopped = False
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._unknown_people = 0

    def prepare(self) -> None:
        """Look what the gallery holds already. Raises ModelMissing, and what opening a gallery does."""
        registry, models = Registry(data_folder()), self._config.models
        registry.need(models.detector, models.embedder, *landmark_models(self._config))
        fingerprint = registry.resolve(models.embedder, "embedder").fingerprint
        with open_gallery(self._config, fingerprint, create=True) as gallery:
            self._known = gallery.known_files()

    def run(self) -> bool:
        """Read every file that is to be read; returns whether it was stopped before the end."""
        with Pipeline(self._config, self._config.pipeline.index, live_sources=0, has_files=True) as pipeline:
            self._pipeline = pipeline
            if self._stopped:
                return True
            for result in pipeline.run(self._items()):
                if isinstance(result, ItemDone):
                    self._ended(result)
                elif isinstance(result, SourceState | WorkerState):
                    self._listener.state(result)
                self._listener.advanced()
        return self._stopped

    def stop(self) -> None:
        """End the run soon; from any thread and from signal handlers."""
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def gather(self, begin: Callable[[int], None], progress: Callable[[int], None]) -> None:
        """Make unknown people of the faces that are still nobody's: `begin` gets how many, `progress` how many are done."""
        model = Registry(data_folder()).resolve(self._config.models.embedder, "embedder")
        threshold = unknown_threshold(self._config, model)
        with open_gallery(self._config, model.fingerprint) as gallery:
            if threshold is not None and (waiting := gallery.unknowns.pending()):
                begin(waiting)
                gallery.unknowns.gather(threshold, progress=progress)
            self._unknown_people = gallery.stats().unknown

    def total(self, over: Callable[[], bool]) -> int | None:
        """How many files there are, by a walk of its own; none if `over` said that nobody wants to know any more."""
        total = 0
        for _ in find(self._sources):
            total += 1
            if over():
                return None
        return total

    @property
    def seen(self) -> int:
        """Files that were read, known or refused so far."""
        return self.counts["done"] + self.counts["already"] + self.counts["refused"]

    def summary(self) -> Summary:
        """The figures so far."""
        return Summary(
            files=self.seen,
            done=self.counts["done"],
            already=self.counts["already"],
            refused=self.counts["refused"],
            faces=self.counts["faces"],
            unlabelled=self.counts["unlabelled"],
            unknown_people=self._unknown_people,
            seconds=round(time.monotonic() - self._started, 2),
        )

    def _items(self) -> Iterator[Item]:
        """Files that are not in the gallery as they are now, found as they are asked for."""
        number = 0
        for found in find(self._sources, label_from_folder=self._label):
            if isinstance(found, Unusable):
                self._refuse(found.source, found.reason)
            elif found.kind in ("camera", "webcam"):
                self._refuse(found.source, "a camera is for `vultus watch`; an archive is files")
            else:
                known = self._known.get(found.source)
                if known is None or not _same(known, found) or (known.status == "refused" and self._retry):
                    number += 1
                    yield found.item(number)
                elif known.status == "done":
                    self.counts["already"] += 1
                else:
                    self._refuse(found.source, known.reason or "refused by an earlier run")

    def _ended(self, result: ItemDone) -> None:
        if result.status == "refused":
            self._refuse(result.source, result.reason or "no reason given")
            return
        self.counts[result.status] += 1
        self.counts["faces"] += result.faces
        if result.unlabelled:
            self.counts["unlabelled"] += 1
            self._listener.unlabelled(result.source)

    def _refuse(self, source: str, reason: str) -> None:
        self.counts["refused"] += 1
        self.reasons[reason] += 1
        self._listener.refused(source, reason)


def _same(known: KnownFile, found: Found) -> bool:
    """Whether a file is as the gallery remembers it, and no other label is asked for than then."""
    as_it_was = (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
    return as_it_was and found.label in (None, known.label)
