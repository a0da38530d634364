"""Tracking, and the choice of the few faces of each track that are worth an embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import (
    MAX_SHOWN,
    Boxes,
    Detections,
    Face,
    ItemEnd,
    Message,
    Origin,
    Spotted,
    Tracked,
    TrackedFace,
)
from vultus.pipeline.stage import Context
from vultus.stages.attempts import Attempts
from vultus.stages.preview import Pace, show_veiled
from vultus.stages.quality import Grade, grade
from vultus.stages.tracker import Track as Path
from vultus.stages.tracker import Tracker

_SAMPLES, _THUMB = (128, 72), (16, 9)
_SAME_SCENE = 0.45
"""Correlation of two successive pictures, 16×9 in size, below which they show different scenes."""
_FLAT = 3.0
"""Standard deviation, 0..255, below which a picture is night or fog, and its correlation with another is chance."""
_IDS_OF_A_LIFE = 1 << 32
_TICK, _TICKS = 0.5, 3.0
"""Seconds between messages without faces, and for how long they follow a face that is gone."""


class _Source:
    """What is remembered of one item."""

    __slots__ = ("alive", "looked", "pace", "sent", "seq", "shape", "thumb", "time", "told", "tracker")

    def __init__(self, tracker: Tracker, pace: Pace) -> None:
        self.tracker, self.pace = tracker, pace
        self.seq = -1
        self.time = -np.inf
        self.shape: tuple[int, ...] = ()
        self.thumb: npt.NDArray[np.float32] | None = None
        self.sent = 0
        self.alive: tuple[int, ...] = ()
        self.looked = self.told = -np.inf
        """When a face was sent on last, and when anything was."""


class Track:
    """Detections → Tracked, if the frame holds a face worth embedding; counts them into the item's `ItemEnd`.

    Sees all frames of an item, in order. A photo's faces all pass, with `track` their number from 1. Of a track in a
    video or stream, the first face of at least `min_quality` passes at once, later ones only if they are better than
    all before by the share `improve`, and `max_looks` at most.

    While somebody is before a camera, and for some seconds after a face was sent on, a `Tracked` without faces comes every
    half second: whoever decides about the track learns from it that time passed, and who is still there.
    """

    name: ClassVar[str] = "track"

    def __init__(self, config: Config) -> None:
        self._config, self._preview = config.track, config.preview

    def open(self, context: Context) -> None:
        """Start with no item known."""
        self._context = context
        self._sources = Attempts(self._begin)

    def process(self, batch: Sequence[Message]) -> Iterable[Message]:
        """Counters: faces by what became of them: `looks`, `not_better`, and if not good enough for one reason above all
        `face_small`, `face_blurred`, `face_turned`, `face_dark`, `face_unsure`; `tracks` that ended, of which those
        that never had a good face as `track_small` and so on; `late` and `cuts` (frames).
        """
        for message in batch:
            if isinstance(message, Detections):
                yield from self._detections(message)
            elif isinstance(message, ItemEnd):
                source = self._sources.of(message.origin)
                if source is not None:
                    self._over(source.tracker.forget())
                    self._sources.drop(message.origin.item)
                    message = msgspec.structs.replace(message, faces=source.sent)
                yield message
            else:
                yield message

    def close(self) -> None:
        """Forget every item."""
        self._sources = Attempts(self._begin)

    def _detections(self, message: Detections) -> Iterable[Message]:
        source = self._sources.of(message.origin)
        if source is None or message.origin.seq <= source.seq:
            self._context.count("late", 1)
            return
        source.seq = message.origin.seq
        faces = self._choose(message, source)
        lease = self._context.audience.of(message.origin.item)
        if lease is not None and message.origin.live:
            self._show(message, source, watched=lease.watched)
        if faces:
            source.sent += len(faces)
            source.looked = source.told = source.time
            self._context.count("looks", len(faces))
        elif (source.alive or source.told - source.looked < _TICKS) and source.time - source.told >= _TICK:
            source.told = source.time
        else:
            return
        yield Tracked(origin=message.origin, image=message.image, faces=tuple(faces), alive=source.alive)

    def _begin(self, origin: Origin, former: _Source | None) -> _Source:
        """A file that is begun again gives its tracks the same numbers, and replaces what it gave.

        A camera goes on when a process dies: who `match` or the gallery know by a number must not become somebody else.
        """
        used = 0
        if origin.live:
            used = self._context.life * _IDS_OF_A_LIFE if former is None else former.tracker.used
        return _Source(Tracker(lost_after=self._config.lost_after, used=used), Pace(self._preview.fps))

    def _show(self, message: Detections, source: _Source, *, watched: bool) -> None:
        """Tell whoever looks at this camera where its faces are, and if some are to be veiled what it sees."""
        origin, image = message.origin, message.image
        if watched:
            found = zip(message.faces, source.alive, strict=True)
            faces = tuple(Spotted(track=track, box=face.box, score=face.score) for face, track in found)[:MAX_SHOWN]
            boxes = Boxes(item=origin.item, time=origin.time, width=image.width, height=image.height, faces=faces)
            self._context.show(boxes)
        gone = source.tracker.unseen(source.time)
        show_veiled(message, source.alive, gone, source.pace, self._preview, self._context)

    def _choose(self, message: Detections, source: _Source) -> list[TrackedFace]:
        image = message.image
        grades = [_grade(image, face) for face in message.faces]
        if message.origin.still:
            return [
                TrackedFace(face=face, track=number, quality=found.quality)
                for number, (face, found) in enumerate(zip(message.faces, grades, strict=True), start=1)
            ]
        thumb = _thumb(image)
        if source.thumb is not None and _different(source.thumb, thumb):
            self._context.count("cuts", 1)
            self._over(source.tracker.forget())
        source.thumb = thumb
        shape = image.height, image.width
        if shape != source.shape:  # a camera was set to another resolution: old places mean nothing in it
            self._over(source.tracker.forget())
            source.shape = shape
        origin = message.origin
        self._advance(source, origin.time if origin.position is None else origin.position)
        paths = source.tracker.update(message.faces, source.time)
        self._over(source.tracker.gone)
        source.alive = tuple(path.id for path in paths) if origin.live else ()
        return [
            TrackedFace(face=face, track=path.id, quality=found.quality)
            for face, path, found in zip(message.faces, paths, grades, strict=True)
            if self._worth(path, found)
        ]

    def _advance(self, source: _Source, time: float) -> None:
        """A clock that is set back far (cameras) starts the tracks anew; a little backwards is no movement."""
        if time < source.time - self._config.lost_after:
            self._over(source.tracker.forget())
            source.time = source.looked = source.told = time
        source.time = max(source.time, time)

    def _worth(self, path: Path, found: Grade) -> bool:
        """Whether this look is to be embedded; if so it counts as one of the track's."""
        if found.quality < self._config.min_quality:
            self._context.count(f"face_{found.reason}", 1)
            path.worst[found.reason] = path.worst.get(found.reason, 0) + 1
            return False
        better = found.quality >= path.best * (1 + self._config.improve)
        if path.looks and (path.looks >= self._config.max_looks or not better):
            self._context.count("not_better", 1)
            return False
        path.looks += 1
        path.best = found.quality
        return True

    def _over(self, paths: Iterable[Path]) -> None:
        """Count tracks that ended."""
        for path in paths:
            self._context.count("tracks", 1)
            if not path.looks and path.worst:
                self._context.count(f"track_{max(path.worst, key=path.worst.__getitem__)}", 1)


def _grade(image: Image, face: Face) -> Grade:
    """`grade`, for which only the part of the picture that shows the face is converted to BGR."""
    x, y, width, height = face.box
    left, top = max(0, int(x)), max(0, int(y))
    right, bottom = min(image.width, int(np.ceil(x + width))), min(image.height, int(np.ceil(y + height)))
    if left >= right or top >= bottom:
        return Grade(0.0, 0.0, 0.0, 0.0, face.score)
    part, left, top = image.patch(left, top, right, bottom)
    a, b, c, d, e = ((px - left, py - top) for px, py in face.landmarks)
    moved = msgspec.structs.replace(face, box=(x - left, y - top, width, height), landmarks=(a, b, c, d, e))
    return grade(part, moved)


def _thumb(image: Image) -> npt.NDArray[np.float32]:
    """What a picture looks like from afar, mean 0; from samples, since reading all of it would cost more than tracking."""
    small = cv2.resize(image.glance(*_SAMPLES), _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(small - small.mean(), np.float32)


def _different(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> bool:
    """Whether there was a cut: a face at the same place is then somebody else's."""
    spread = float(before.std()), float(after.std())
    return min(spread) >= _FLAT and float((before * after).mean()) < _SAME_SCENE * spread[0] * spread[1]
