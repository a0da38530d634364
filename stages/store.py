"""What the archive job keeps of a file, and when the file is done."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from vultus.configs.schema import Config
from vultus.index import FaceRecord, FileFaces, FileRecord, Gallery, GalleryBusy, StorageError
from vultus.index.names import clean_name
from vultus.pipeline.messages import Embedded, ItemDone, ItemEnd, Message, Origin, TrackedFace
from vultus.pipeline.stage import Context
from vultus.stages.attempts import Attempts
from vultus.stages.chip import chip_jpeg
from vultus.stages.gallery import open_gallery, unknown_threshold
from vultus.stages.subject import subject

_log = logging.getLogger("vultus.stages")

_GATHER_EVERY = 256
"""Faces of nobody that wait before they are gathered into unknown people; the end of the job sees to the rest."""


class _View:
    """A face that is to be kept. Ordered by quality, the worst first; of equal ones the later is worse."""

    __slots__ = ("number", "record", "vector")

    def __init__(self, number: int, record: FaceRecord, vector: npt.NDArray[np.float32]) -> None:
        self.number, self.record, self.vector = number, record, vector

    def __lt__(self, other: _View) -> bool:
        return (self.record.quality or 0.0, -self.number) < (other.record.quality or 0.0, -other.number)


class _File:
    """What has come of one file."""

    __slots__ = ("end", "received", "tracks")

    def __init__(self) -> None:
        self.tracks: dict[int, list[_View]] = {}
        """A heap for each track."""
        self.received = 0
        self.end: ItemEnd | None = None

    def views(self) -> list[_View]:
        """All that are to be kept, in the order in which they came."""
        return sorted((view for track in self.tracks.values() for view in track), key=lambda view: view.number)


class Store:
    """Embedded → nothing; ItemEnd → ItemDone, once all faces of the file are durably in the gallery.

    A file is in the gallery with all its faces or not at all, and one that comes a second time replaces what it gave
    before. The files that a batch completes go in together, since one commit costs as much as another. Of each track of
    a video the best `views_per_track` faces are kept, of a photo all.
    With a label, the lone face of a photo gets that name; of several faces the largest if it is clearly the largest
    (twice the next one's area), otherwise none. Videos are not labelled. Faces of nobody are gathered into unknown people
    as they come, some hundreds at a time.
    """

    name: ClassVar[str] = "store"

    def __init__(self, config: Config, data: Path) -> None:
        self._config = config
        self._data = data
        self._gallery: Gallery | None = None

    def open(self, context: Context) -> None:
        """Open the gallery; ModelMismatch if another embedder filled it."""
        self._context = context
        self._gallery, model = open_gallery(self._config, self._data)
        self._threshold = unknown_threshold(self._config, model)
        self._waiting = 0
        self._files: Attempts[_File] = Attempts(lambda _origin, _former: _File())

    def process(self, batch: Sequence[Message]) -> Iterator[Message]:
        """Counters: `faces` (stored), `views_left_out`, `label_unclear` (photos)."""
        complete = []
        for message in batch:
            if not isinstance(message, Embedded | ItemEnd):
                yield message
                continue
            file = self._files.of(message.origin)
            if file is None:
                continue
            if isinstance(message, Embedded):
                self._keep(file, message)
            else:
                file.end = message
            if file.end is not None and file.received >= file.end.faces:
                self._files.drop(message.origin.item)
                complete.append((file.end, self._faces(file, file.end)))
        if complete:
            yield from self._commit(complete)
            self._gather()

    def close(self) -> None:
        """Close the gallery."""
        if self._gallery is not None:
            self._gallery.close()
            self._gallery = None

    def _keep(self, file: _File, message: Embedded) -> None:
        most = self._config.store.views_per_track
        for tracked, chip, vector in zip(message.faces, message.chips, message.vectors, strict=True):
            file.received += 1
            track = file.tracks.setdefault(tracked.track, [])
            if len(track) == most and tracked.quality <= (track[0].record.quality or 0.0):
                self._context.count("views_left_out", 1)
                continue
            kept = chip if self._config.store.keep_chips else None
            record = face_record(message.origin, tracked, kept, self._config.store.collection)
            view = _View(file.received, record, np.array(vector, np.float32))
            if len(track) < most:
                heapq.heappush(track, view)
            else:
                heapq.heapreplace(track, view)
                self._context.count("views_left_out", 1)

    def _faces(self, file: _File, end: ItemEnd) -> FileFaces:
        """What the gallery is to keep of a file: nothing of one that was refused, however far it was read."""
        origin, views = end.origin, file.views() if end.refused is None else []
        named = self._named(origin, views)
        return FileFaces(
            record=FileRecord(
                source=origin.source, size=end.size, mtime_ns=end.mtime_ns, digest=end.digest, label=origin.label
            ),
            vectors=np.stack([view.vector for view in views]) if views else np.empty((0, 1), np.float32),
            faces=[view.record for view in views],
            label=origin.label if named is not None else None,
            labelled=None if named is None else [named],
            refused=end.refused,
        )

    def _commit(self, complete: Sequence[tuple[ItemEnd, FileFaces]]) -> Iterator[ItemDone]:
        assert self._gallery is not None
        trouble = None
        try:
            self._gallery.commit_files([faces for _, faces in complete])
        except (StorageError, GalleryBusy) as error:
            trouble = str(error)
        for end, faces in complete:
            done = ItemDone(item=end.origin.item, attempt=end.origin.attempt, source=end.origin.source, status="done")
            if trouble is not None:
                yield replace(done, status="retry", reason=trouble)
            elif end.refused is not None:
                yield replace(done, status="refused", reason=end.refused)
            else:
                stored = len(faces.faces or ())
                self._context.count("faces", stored)
                self._waiting += stored
                label_lost = end.origin.label is not None and end.origin.still and stored > 0 and faces.label is None
                yield replace(done, faces=stored, unlabelled=label_lost)

    def _gather(self) -> None:
        """Make unknown people of what waits, if that is enough; a gallery that was filled before catches up with it."""
        assert self._gallery is not None
        if self._threshold is None or self._waiting < _GATHER_EVERY:
            return
        try:
            self._gallery.unknowns.gather(self._threshold, limit=2 * self._waiting)
        except (StorageError, GalleryBusy) as error:
            _log.warning("unknown people are gathered later: %s", error)
        self._waiting = 0

    def _named(self, origin: Origin, views: Sequence[_View]) -> int | None:
        """Which of the faces the label means; none if there is no label, or no telling."""
        if origin.label is None or not origin.still or not views:
            return None
        try:
            clean_name(origin.label)
        except ValueError:  # folders may be called what people may not
            self._context.count("label_unclear", 1)
            return None
        meant = subject([view.record.box for view in views])
        if meant is None:
            self._context.count("label_unclear", 1)
        return meant


def face_record(
    origin: Origin, tracked: TrackedFace, chip: npt.NDArray[np.uint8] | None, collection: str | None = None
) -> FaceRecord:
    """What the gallery keeps of a tracked face beside its vector; `chip`, `(112, 112, 3)` uint8 BGR, as a JPEG."""
    return FaceRecord(
        source=origin.source,
        position=origin.position,
        time=origin.time,
        box=tracked.face.box,
        landmarks=tracked.face.landmarks,
        score=tracked.face.score,
        quality=tracked.quality,
        track=tracked.track,
        chip=None if chip is None else chip_jpeg(chip),
        collection=collection,
    )
