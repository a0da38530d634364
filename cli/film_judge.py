"""Who was seen, beside who was there."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from msgspec import Struct

from vultus.cli.scenes import Film, Seen
from vultus.pipeline.messages import Box

_CLEAR_FRAMES = 8
"""A visit with fewer frames in which the face is clear is not demanded."""
_TOUCHES = 0.2
"""Overlap (intersection over union) from which on a box is about somebody."""


class Said(Struct, frozen=True, kw_only=True):
    """That somebody was seen."""

    frame: int
    """Counted on when the film begins again."""
    box: Box
    name: str | None
    """None for a stranger."""
    track: Hashable


class Verdict(Struct, frozen=True, kw_only=True):
    """Figures of one contender on one film."""

    visits: int
    """Of people whom the gallery knows, clear for a while."""
    once: int
    """Named rightly, by exactly one track."""
    again: int
    """Named rightly, by several tracks: told twice that somebody came."""
    lost: int
    """Never named."""
    wrong: int
    """Visits, also of strangers, in which a wrong name was said."""
    strangers: int
    strangers_told: int
    """Of these, said to be somebody unknown."""
    nowhere: int
    """Sightings where nobody was."""


def judge(film: Film, said: Sequence[Said], *, frames: range, tolerance: int = 0) -> Verdict:
    """Compare; only visits that lie wholly within `frames` count. `tolerance` is how inexact the frames of `said` are."""
    named: dict[tuple[int, int], dict[str | None, set[Hashable]]] = {}
    nowhere = 0
    for one in said:
        visit = visit_of(film, one.frame, one.box, tolerance)
        if visit is None:
            nowhere += one.frame in frames
        else:
            named.setdefault(visit, {}).setdefault(one.name, set()).add(one.track)
    counts = dict.fromkeys(("visits", "once", "again", "lost", "wrong", "strangers", "strangers_told"), 0)
    for visit in demanded(film, frames):
        who, names = film.who(visit[1]), named.get(visit, {})
        right = len(names.get(who.who, ()))
        if who.known:
            counts["visits"] += 1
            counts["once" if right == 1 else "again" if right else "lost"] += 1
        else:
            counts["strangers"] += 1
            counts["strangers_told"] += None in names
        counts["wrong"] += any(name is not None and not (who.known and name == who.who) for name in names)
    return Verdict(nowhere=nowhere, **counts)


def demanded(film: Film, frames: range) -> list[tuple[int, int]]:
    """Visits in which somebody can be named, as (which showing of the film, visit)."""
    clear = [0] * len(film.visits)
    for number in range(film.frames):
        for seen in film.truth(number):
            clear[seen.visit] += seen.clear
    return [
        (showing, index)
        for showing in range(frames.start // film.frames, -(-frames.stop // film.frames))
        for index, visit in enumerate(film.visits)
        if clear[index] >= _CLEAR_FRAMES
        and showing * film.frames + visit.first >= frames.start
        and showing * film.frames + visit.last < frames.stop
    ]


def first_clear(film: Film, visit: tuple[int, int]) -> int:
    """The frame from which on somebody could have been named."""
    showing, index = visit
    numbers = range(film.visits[index].first, film.visits[index].last + 1)
    return showing * film.frames + next(
        number for number in numbers if any(seen.visit == index and seen.clear for seen in film.truth(number))
    )


def visit_of(film: Film, frame: int, box: Box, tolerance: int) -> tuple[int, int] | None:
    """Whom a box is about: the visit that overlaps it most, in that frame or the nearest that show somebody there."""
    best: tuple[float, tuple[int, int]] | None = None
    for number in range(max(0, frame - tolerance), frame + tolerance + 1):
        for seen in film.truth(number % film.frames):
            overlap = common(box, seen.box)
            if overlap >= _TOUCHES and (best is None or overlap > best[0]):
                best = overlap, (number // film.frames, seen.visit)
    return None if best is None else best[1]


def nearest(seen: Sequence[Seen], box: Box) -> Seen | None:
    """Whom a box of this very frame is about."""
    found = max(seen, key=lambda one: common(box, one.box), default=None)
    return found if found is not None and common(box, found.box) >= _TOUCHES else None


def common(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    tall = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    return wide * tall / (a[2] * a[3] + b[2] * b[3] - wide * tall)
