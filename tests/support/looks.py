"""Messages with faces whose vectors a test makes up, and a match stage that sees them."""

from typing import Any

import numpy as np

from vultus.pipeline.messages import Embedded, Face, Origin, Sighting, TrackedFace
from vultus.stages.align import TEMPLATE
from vultus.stages.match import Match

DIM = 8


def face_at(x: float, y: float, side: float = 60.0) -> Face:
    points = TEMPLATE / 112 * side + (x, y)
    return Face(box=(x, y, side, side), landmarks=tuple(map(tuple, points.tolist())), score=0.9)


def origin(**given: Any) -> Origin:
    return Origin(**{"item": 1, "attempt": 0, "source": "/a.jpg", "seq": 0, "live": False, "time": 1000.0, **given})


def toward(who: int, cosine: float = 1.0) -> np.ndarray:
    """A vector at that cosine to person `who`."""
    vector = np.zeros(DIM, np.float32)
    vector[who], vector[-1] = cosine, (1 - cosine**2) ** 0.5
    return vector


def embedded(
    *looks: tuple[int, float, np.ndarray], side: float = 60.0, alive: tuple[int, ...] = (), **given: Any
) -> Embedded:
    """One frame with faces (track, quality, vector)."""
    return Embedded(
        origin=origin(**given),
        alive=alive,
        faces=tuple(
            TrackedFace(face=face_at(100 * n, 10, side if n == 0 else 60.0), track=track, quality=grade)
            for n, (track, grade, _) in enumerate(looks)
        ),
        chips=np.full((len(looks), 112, 112, 3), 77, np.uint8),
        vectors=np.stack([vector for *_, vector in looks]) if looks else np.empty((0, DIM), np.float32),
    )


class Watch:
    """A match stage and what it says, as (track, name)."""

    def __init__(self, stage: Match) -> None:
        self.stage = stage
        self._seq = 0

    def see(self, time: float, *looks: tuple[int, float, np.ndarray], **given: Any) -> list[tuple[int, str | None]]:
        self._seq += 1
        message = embedded(*looks, time=time, seq=self._seq, **{"live": True, "source": "camera", **given})
        return [(each.track, each.name) for each in self.stage.process([message]) if isinstance(each, Sighting)]
