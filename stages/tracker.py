"""Which face of this frame is which face of the frames before: one source, one instance.

Each track is a Kalman filter (R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960) of constant
velocity, for x and y of the box's centre and for the logarithm of its side, each on its own; noise is measured in sides
of the box, so near and far faces are treated alike. A face may belong to a track if

    d² = Σ (measured − expected)² / variance  <  16.3        (three numbers; 99.9 % of those who go on as before)

so the longer somebody was hidden, the farther off they may be. Faces and tracks are paired at the least sum of

    d² + Σ ln(variance / smallest variance) + (landmarks' mean distance / 0.06 sides)²

where a pair that costs more than leaving both alone is not made (H. W. Kuhn's assignment problem, by shortest augmenting
paths: R. Jonker and A. Volgenant, Computing 38, 1987). The second term prefers tracks that were seen just now, the third
tells two people who pass each other apart by the way they hold their heads. Who overlaps a box of the last half second is
possible in any case, at a cost just below that bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vultus.pipeline.messages import Box, Face

Floats = npt.NDArray[np.float64]

_MEASURED = np.array([0.05, 0.05, 0.07])
"""Standard deviation of a detection: of the centre in sides, of the side's logarithm."""
_PUSH = np.array([2.0, 2.0, 0.8])
"""Standard deviation of the acceleration, in the same units a second²."""
_SPEED = np.array([2.5, 2.5, 0.4])
"""Of the speed of somebody new, the same a second."""
_GATE = 16.27
"""χ² of three degrees of freedom at 99.9 %."""
_MOMENT, _STAYS = 0.5, 0.3
"""Seconds, and overlap (intersection over union) of the last box and the new one."""
_POINTS = 0.06
_ALONE = 22.0
"""Cost of a pair at which both are better left alone."""
_SURE = 2.0 * np.log(1.5 * _MEASURED).sum()
"""What the variances of a track that is seen all the time come to, about."""


class Track:
    """A face followed through time. `id` is unique within the source."""

    __slots__ = ("best", "box", "id", "looks", "points", "side", "state", "time", "variance", "worst")

    def __init__(self, number: int, face: Face, time: float) -> None:
        self.id = number
        self.box = face.box
        measured, self.points = _measured(face)
        self.state = np.stack([measured, np.zeros(3)])
        """Of x, y and ln side, `(2, 3)`: the value and its speed a second; x and y in pixels."""
        self.side = float(np.exp(measured[2]))
        self.variance = np.zeros((2, 2, 3))
        """Covariance of value and speed of each, x and y in sides."""
        self.variance[0, 0], self.variance[1, 1] = _MEASURED**2, _SPEED**2
        self.time = time
        """When it was last seen, seconds."""
        self.looks = 0
        """How many of its faces were sent on to be embedded."""
        self.best = 0.0
        """Quality of the best of them."""
        self.worst: dict[str, int] = {}
        """Why its other faces were not good enough: how often each reason."""

    def expected(self, time: float) -> tuple[Floats, Floats]:
        """State and variance at `time`, `(2, 3)` and `(2, 2, 3)`."""
        passed = time - self.time
        state = self.state + np.stack([self.state[1] * passed, np.zeros(3)])
        variance = self.variance.copy()
        variance[0, 0] += passed * (2 * self.variance[0, 1] + passed * self.variance[1, 1])
        variance[0, 1] += passed * self.variance[1, 1]
        push = _PUSH**2
        variance[0, 0] += push * passed**4 / 4
        variance[0, 1] += push * passed**3 / 2
        variance[1, 1] += push * passed**2
        variance[1, 0] = variance[0, 1]
        return state, variance

    def seen(self, face: Face, time: float) -> None:
        """Go on from `face`."""
        self.box = face.box
        measured, self.points = _measured(face)
        state, variance = self.expected(time)
        unit = np.array([self.side, self.side, 1.0])
        gain = variance[:, 0] / (variance[0, 0] + _MEASURED**2)
        self.state = state + gain * ((measured - state[0]) / unit) * unit
        self.variance = variance - gain[:, None] * variance[0][None]
        self.variance[1, 0] = self.variance[0, 1]
        self.side, self.time = float(np.exp(self.state[0, 2])), time


class Tracker:
    """Tracks of one source; memory is bounded by the faces seen within the last `lost_after` seconds."""

    def __init__(self, *, lost_after: float, used: int = 0) -> None:
        """Ids begin above `used`."""
        self._lost_after = lost_after
        self._tracks: list[Track] = []
        self.used = used
        """The highest id given."""
        self.gone: list[Track] = []
        """Those that the last `update` found to have ended."""

    def forget(self) -> list[Track]:
        """Every face from now on starts a track; returns those that ended with that."""
        ended, self._tracks = self._tracks, []
        return ended

    def unseen(self, time: float) -> list[Box]:
        """Where those were last who are not there at `time`, that of the last update, but may be hidden or turned away."""
        return [track.box for track in self._tracks if track.time < time]

    def update(self, faces: Sequence[Face], time: float) -> list[Track]:
        """The track of each face, in their order; `time` in seconds, not before that of the last call.

        A track that was not seen for more than `lost_after` is forgotten (`gone`); its id is not given again.
        """
        self.gone = [track for track in self._tracks if time - track.time > self._lost_after]
        old = [track for track in self._tracks if time - track.time <= self._lost_after]
        result: list[Track | None] = [None] * len(faces)
        for row, column in _assigned(_costs(old, faces, time)):
            old[row].seen(faces[column], time)
            result[column] = old[row]
        self._tracks = list(old)
        return [
            track if track is not None else self._start(face, time) for track, face in zip(result, faces, strict=True)
        ]

    def _start(self, face: Face, time: float) -> Track:
        self.used += 1
        track = Track(self.used, face, time)
        self._tracks.append(track)
        return track


def _measured(face: Face) -> tuple[Floats, Floats]:
    """Centre and ln side, `(3,)`, and where the landmarks are from the centre in sides, `(5, 2)`."""
    x, y, w, h = face.box
    side = max(1.0, float(np.sqrt(max(w, 0.0) * max(h, 0.0))))
    centre = np.array([x + w / 2, y + h / 2])
    return np.array([*centre, np.log(side)]), (np.array(face.landmarks, np.float64) - centre) / side


def _costs(tracks: Sequence[Track], faces: Sequence[Face], time: float) -> Floats:
    """`(tracks, faces)`, infinite where the gate says no."""
    if not tracks or not faces:
        return np.empty((len(tracks), len(faces)))
    expected = [track.expected(time) for track in tracks]
    where = np.array([state[0] for state, _ in expected])
    spread = np.array([variance[0, 0] for _, variance in expected]) + _MEASURED**2
    unit = np.array([[track.side, track.side, 1.0] for track in tracks])
    measured = [_measured(face) for face in faces]
    offset = (np.array([at for at, _ in measured])[None] - where[:, None]) / unit[:, None]
    squared = (offset**2 / spread[:, None]).sum(axis=2)
    points = np.array([track.points for track in tracks])[:, None] - np.array([points for _, points in measured])[None]
    apart = np.hypot(points[..., 0], points[..., 1]).mean(axis=2)
    doubt = np.log(spread).sum(axis=1)[:, None] - _SURE
    cost = squared + np.maximum(doubt, 0.0) + np.minimum((apart / _POINTS) ** 2, 9.0)
    cost = np.where((squared < _GATE) & (cost < _ALONE), cost, np.inf)
    # Heads turn back and jump as no smooth walk does. Whoever is where somebody was a moment ago is that one, for want of
    # a better.
    overlap = _overlap(np.array([track.box for track in tracks]), np.array([face.box for face in faces]))
    recent = np.array([[time - track.time <= _MOMENT] for track in tracks])
    return np.where((overlap >= _STAYS) & recent, np.minimum(cost, _ALONE * (1 - overlap / 4)), cost)


def _overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (x, y, w, h): `(n, 4)` and `(m, 4)` give `(n, m)`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    union = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - common
    return np.asarray(common / np.maximum(union, 1e-9))


def _assigned(costs: Floats) -> list[tuple[int, int]]:
    """Pairs (row, column) of finite cost whose sum, with `_ALONE` for each row without one, is least."""
    rows, columns = costs.shape
    possible = np.isfinite(costs)
    if (possible.sum(axis=0) <= 1).all() and (possible.sum(axis=1) <= 1).all():
        return [(int(row), int(column)) for row, column in zip(*np.nonzero(possible), strict=True)]
    # Each row has a column of its own in which it is alone; so there is always a way.
    table = np.full((rows, columns + rows), 1e9)
    table[:, :columns] = np.where(possible, costs, 1e9)
    table[np.arange(rows), columns + np.arange(rows)] = _ALONE
    owner = np.full(columns + rows, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns + rows)
    for row in range(rows):
        _augment(table, row, owner, row_price, column_price)
    return [(int(owner[column]), column) for column in range(columns) if owner[column] >= 0]


def _augment(table: Floats, row: int, owner: npt.NDArray[np.int_], row_price: Floats, column_price: Floats) -> None:
    """Give `row` a column along the cheapest path of columns that change owners (Dijkstra on reduced costs)."""
    width = table.shape[1]
    reach, before, done = np.full(width, np.inf), np.full(width, -1), np.zeros(width, bool)
    at, column, paid = row, -1, 0.0
    visited = [row]
    while True:
        through = paid + table[at] - row_price[at] - column_price
        better = ~done & (through < reach)
        reach[better], before[better] = through[better], column
        column = int(np.argmin(np.where(done, np.inf, reach)))
        paid, done[column] = float(reach[column]), True
        if owner[column] < 0:
            break
        at = int(owner[column])
        visited.append(at)
    row_price[row] += paid
    for at in visited[1:]:
        row_price[at] += paid - reach[owner == at][0]
    inner = done & (reach < paid)
    column_price[inner] -= paid - reach[inner]
    while column >= 0:
        previous = int(before[column])
        owner[column] = row if previous < 0 else owner[previous]
        column = previous
