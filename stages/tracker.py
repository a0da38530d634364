"""Which face of this frame is which face of the frames before: one source, one instance.

Each track is expected where its last box moved on at its speed. Pairs of track and face are taken in order of affinity,
nearest first, as long as both are free:

    affinity = IoU − d / 2    with d = mean distance of the five landmarks ÷ mean side of the two boxes

The landmarks decide between boxes that overlap alike, as when two people pass each other. A pair is possible if the
boxes overlap by `iou`, or if the centres are within three quarters of a side and the sizes within a factor of two: where
only every third frame is looked at, a small face moves that far.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vultus.pipeline.messages import Face

_SMOOTH = 0.5
"""Share of the newest displacement in a track's speed."""
_NEAR = 0.75
_SCALE = 2.0
_IMPOSSIBLE = -np.inf

Floats = npt.NDArray[np.float64]


class Track:
    """A face followed through time. `id` is unique within the source."""

    __slots__ = ("best", "box", "id", "landmarks", "looks", "speed", "time")

    def __init__(self, number: int, face: Face, time: float) -> None:
        self.id = number
        self.box = np.array(face.box, np.float64)
        self.landmarks = np.array(face.landmarks, np.float64)
        self.speed = np.zeros(2)
        """Of the centre, in pixels a second."""
        self.time = time
        """When it was last seen, seconds."""
        self.looks = 0
        """How many of its faces were sent on to be embedded."""
        self.best = 0.0
        """Quality of the best of them."""

    def shift(self, time: float) -> Floats:
        """How far it should have moved by `time`, `(2,)` pixels."""
        return self.speed * (time - self.time)

    def seen(self, face: Face, time: float) -> None:
        """Go on from `face`."""
        box = np.array(face.box, np.float64)
        passed = time - self.time
        if passed > 0:
            moved = (box[:2] + box[2:] / 2 - self.box[:2] - self.box[2:] / 2) / passed
            self.speed += _SMOOTH * (moved - self.speed)
        self.box, self.landmarks, self.time = box, np.array(face.landmarks, np.float64), time


class Tracker:
    """Tracks of one source; memory is bounded by the faces seen within the last `lost_after` seconds."""

    def __init__(self, *, iou: float, lost_after: float, used: int = 0) -> None:
        """Ids begin above `used`."""
        self._iou = iou
        self._lost_after = lost_after
        self._tracks: list[Track] = []
        self.used = used
        """The highest id given."""

    def forget(self) -> None:
        """Every face from now on starts a track."""
        self._tracks.clear()

    def update(self, faces: Sequence[Face], time: float) -> list[Track]:
        """The track of each face, in their order; `time` in seconds, not before that of the last call.

        A track that was not seen for more than `lost_after` is forgotten; its id is not given again.
        """
        self._tracks = [track for track in self._tracks if time - track.time <= self._lost_after]
        table = self._affinity(faces, time)
        result: list[Track | None] = [None] * len(faces)
        rows, columns = np.nonzero(table > _IMPOSSIBLE)
        free = set(range(len(self._tracks)))
        for nth in np.argsort(-table[rows, columns], kind="stable"):
            row, column = int(rows[nth]), int(columns[nth])
            if row in free and result[column] is None:
                free.remove(row)
                self._tracks[row].seen(faces[column], time)
                result[column] = self._tracks[row]
        return [
            track if track is not None else self._start(face, time) for track, face in zip(result, faces, strict=True)
        ]

    def _start(self, face: Face, time: float) -> Track:
        self.used += 1
        track = Track(self.used, face, time)
        self._tracks.append(track)
        return track

    def _affinity(self, faces: Sequence[Face], time: float) -> Floats:
        """`(tracks, faces)`, `_IMPOSSIBLE` where the gates say no."""
        if not self._tracks or not faces:
            return np.empty((len(self._tracks), len(faces)))
        shifts = np.array([track.shift(time) for track in self._tracks])
        old = np.array([track.box for track in self._tracks])
        old[:, :2] += shifts
        old_points = np.array([track.landmarks for track in self._tracks]) + shifts[:, None]
        new = np.array([face.box for face in faces], np.float64)
        new_points = np.array([face.landmarks for face in faces], np.float64)

        overlap = _overlap(old, new)
        side_old, side_new = np.sqrt(old[:, 2:].prod(axis=1))[:, None], np.sqrt(new[:, 2:].prod(axis=1))[None]
        side = (side_old + side_new) / 2
        centres = (old[:, :2] + old[:, 2:] / 2)[:, None] - (new[:, :2] + new[:, 2:] / 2)[None]
        near = np.hypot(centres[..., 0], centres[..., 1]) <= _NEAR * side
        alike = np.maximum(side_old, side_new) <= _SCALE * np.minimum(side_old, side_new)
        offsets = old_points[:, None] - new_points[None]
        apart = np.hypot(offsets[..., 0], offsets[..., 1]).mean(axis=2) / side
        possible = (overlap >= self._iou) | (near & alike)
        return np.where(possible, overlap - apart / 2, _IMPOSSIBLE)


def _overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (x, y, w, h): `(n, 4)` and `(m, 4)` give `(n, m)`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    union = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - common
    return np.asarray(common / np.maximum(union, 1e-9))
