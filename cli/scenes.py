"""Videos made of photographs, with the truth about them: who is visible in which frame, and how well.

A head is cut out of a photograph along a soft ellipse and walks through the picture on shoulders: past a wall, past somebody
else, from far to near, with a turn of the head, or too fast for the shutter. A turn is a foreshortening up to a back
of the head, so it hides a face as a real one does, without showing a profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct, structs

from vultus.pipeline.messages import Box

RATE = 25
_MARGIN = (0.55, 0.55, 0.45)
"""Of the face's box that is cut out with it: to each side, above, below."""
_CLEAR_HEIGHT, _CLEAR_TURN = 48.0, 0.35
"""Smaller faces, and ones turned further (1 is a quarter of a circle), are not held to be recognisable."""
_HIDDEN = 0.15
_GONE = 0.62
"""From this turn on only hair is seen."""
_BLUR = 0.09
"""Length of the smear of one who is too fast, as a share of the face's height."""
_NOISE = 2.0

Pixels = npt.NDArray[np.uint8]
Point = tuple[float, float]
Act = Literal["clear", "turn", "blur"]


class Portrait(Struct, frozen=True, kw_only=True, eq=False):
    """A head to be shown."""

    who: str
    known: bool
    """Whether the gallery knows the person, from another photograph."""
    pixels: Pixels
    """`(h, w, 3)` uint8 BGR, cut out of the photograph."""
    face: Box
    """Within `pixels`."""


class Visit(Struct, frozen=True, kw_only=True):
    """Somebody walks through the picture in a straight line. Points are of the face's centre, in shares of the picture."""

    cast: int
    """Index of the portrait."""
    first: int
    last: int
    """Frames."""
    start: Point
    end: Point
    height: tuple[float, float]
    """Of the face at the start and at the end, as a share of the picture's height."""
    act: Act = "clear"
    acts: tuple[float, float] = (0.0, 1.0)
    """Between which parts of the way the head is turned or blurred."""


class Seen(Struct, frozen=True, kw_only=True):
    """The truth about one person in one frame."""

    visit: int
    box: Box
    """Of the face, pixels."""
    clear: bool
    """Whether it could be recognised: near enough, facing, sharp, and neither hidden nor cut off."""


class Film(Struct, frozen=True, kw_only=True, eq=False):
    """What a video is to show."""

    portraits: tuple[Portrait, ...]
    visits: tuple[Visit, ...]
    size: tuple[int, int]
    """Width and height."""
    frames: int

    def truth(self, number: int) -> list[Seen]:
        """Who is in a frame, the farthest first."""
        seen: list[Seen] = []
        for nearer in sorted(self._present(number), key=lambda index: self._height(index, number), reverse=True):
            box = self._box(nearer, number)
            covered = max((_covered(box, other.box) for other in seen), default=0.0)
            clear = self._clear(nearer, number, box) and covered <= _HIDDEN
            seen.append(Seen(visit=nearer, box=box, clear=clear))
        return seen[::-1]

    def who(self, visit: int) -> Portrait:
        """The person of a visit."""
        return self.portraits[self.visits[visit].cast]

    def pictures(self, seed: int = 1, every: int = 1) -> Iterator[Pixels]:
        """All frames, or every so-many-th, `(h, w, 3)` uint8 BGR, with a camera's noise."""
        width, height = self.size
        rand = np.random.default_rng(seed)
        wall = _wall(width, height)
        grain = [rand.normal(0, _NOISE, (height, width, 1)).astype(np.int8).repeat(3, 2) for _ in range(4)]
        heads: dict[tuple[int, int, int, int], tuple[Pixels, Pixels]] = {}
        for number in range(0, self.frames, every):
            picture = wall.copy()
            for seen in self.truth(number):
                self._paint(picture, seen, number, heads)
            yield np.asarray(cv2.add(picture, grain[number % 4], dtype=cv2.CV_8U), np.uint8)

    def _present(self, number: int) -> list[int]:
        return [index for index, visit in enumerate(self.visits) if visit.first <= number <= visit.last]

    def _part(self, index: int, number: int) -> float:
        visit = self.visits[index]
        return (number - visit.first) / max(1, visit.last - visit.first)

    def _height(self, index: int, number: int) -> float:
        """Of the face, pixels."""
        (begin, end), part = self.visits[index].height, self._part(index, number)
        return (begin + (end - begin) * part) * self.size[1]

    def _box(self, index: int, number: int) -> Box:
        visit, part = self.visits[index], self._part(index, number)
        tall = self._height(index, number)
        wide = tall * self.who(index).face[2] / self.who(index).face[3]
        x = (visit.start[0] + (visit.end[0] - visit.start[0]) * part) * self.size[0]
        y = (visit.start[1] + (visit.end[1] - visit.start[1]) * part) * self.size[1]
        y += 0.04 * tall * np.sin(number * 0.5 + index)  # steps
        return (float(x - wide / 2), float(y - tall / 2), float(wide), float(tall))

    def _done(self, index: int, number: int) -> float:
        """How much of its act is going on, 0..1, in and out again."""
        visit, part = self.visits[index], self._part(index, number)
        begin, end = visit.acts
        return float(np.sin(np.pi * (part - begin) / (end - begin))) if begin < part < end else 0.0

    def _clear(self, index: int, number: int, box: Box) -> bool:
        act, done = self.visits[index].act, self._done(index, number)
        inside = box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= self.size[0] and box[1] + box[3] <= self.size[1]
        spoilt = (act == "turn" and done > _CLEAR_TURN) or (act == "blur" and done > 0)
        return inside and box[3] >= _CLEAR_HEIGHT and not spoilt

    def _paint(
        self, picture: Pixels, seen: Seen, number: int, heads: dict[tuple[int, int, int, int], tuple[Pixels, Pixels]]
    ) -> None:
        portrait, visit = self.who(seen.visit), self.visits[seen.visit]
        done = self._done(seen.visit, number)
        turn = round(done * 50) if visit.act == "turn" else 0
        smear = round(_BLUR * seen.box[3]) if visit.act == "blur" and done > 0 else 0
        key = (visit.cast, round(seen.box[3]), turn, smear)
        if key not in heads:
            if len(heads) > 64:
                heads.clear()
            heads[key] = _head(portrait, key[1], turn / 50, smear)
        x, y, w, h = seen.box
        hue = 40 + 37 * (visit.cast * 5 % 6)
        shoulders = (round(x + w / 2), round(y + 2.3 * h))
        cv2.ellipse(
            picture, shoulders, (round(1.6 * w), round(h)), 0, 0, 360, (hue, 200 - hue // 2, 90), -1, cv2.LINE_AA
        )
        pixels, mask = heads[key]
        _paste(picture, pixels, mask, round(x + w / 2 - pixels.shape[1] / 2), round(y - _MARGIN[1] * h))


def cut_out(image: Pixels, face: Box, who: str, *, known: bool) -> Portrait:
    """The head of a photograph `(h, w, 3)` uint8 BGR, whose face is in the box `face`."""
    side, above, below = _MARGIN
    x, y, w, h = face
    x0, y0, x1, y1 = (round(v) for v in (x - side * w, y - above * h, x + w + side * w, y + h + below * h))
    border = max(0, -x0, -y0, x1 - image.shape[1], y1 - image.shape[0])
    padded = np.asarray(cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE), np.uint8)
    part = np.ascontiguousarray(padded[y0 + border : y1 + border, x0 + border : x1 + border])
    return Portrait(who=who, known=known, pixels=part, face=(x - x0, y - y0, w, h))


def script(portraits: Sequence[Portrait], size: tuple[int, int], seconds: float, rand: np.random.Generator) -> Film:
    """A film in which people come alone, meet, turn away, hurry and come from afar, group after group.

    Everybody has a visit in turn, so nobody is back before the others were there.
    """
    if len(portraits) < 3:
        raise ValueError("a film needs at least three people")
    frames, order = round(seconds * RATE), [int(who) for who in rand.permutation(len(portraits))]
    visits: list[Visit] = []
    begin, scene, nth = 10, 0, 0
    while True:
        group = _SCENES[scene % len(_SCENES)]
        pace = float(rand.uniform(0.9, 1.1))
        length = round(max(visit.last for visit in group) * pace)
        if begin + length + 10 > frames:
            break
        for visit in group:
            visits.append(
                structs.replace(
                    visit,
                    cast=order[nth % len(order)],
                    first=begin + round(visit.first * pace),
                    last=begin + round(visit.last * pace),
                )
            )
            nth += 1
        begin, scene = begin + length + 15, scene + 1
    return Film(portraits=tuple(portraits), visits=tuple(visits), size=size, frames=frames)


def empty(size: tuple[int, int], seconds: float) -> Film:
    """A film in which nobody comes."""
    return Film(portraits=(), visits=(), size=size, frames=round(seconds * RATE))


def _walk(
    first: int, last: int, start: Point, end: Point, height: tuple[float, float], act: Act = "clear",
    acts: tuple[float, float] = (0.0, 1.0),
) -> Visit:  # fmt: skip
    return Visit(cast=0, first=first, last=last, start=start, end=end, height=height, act=act, acts=acts)


_SCENES: tuple[tuple[Visit, ...], ...] = (
    # one walks by
    (_walk(0, 90, (-0.05, 0.38), (1.05, 0.42), (0.13, 0.13)),),
    # two cross, the nearer one before the other
    (
        _walk(0, 110, (-0.05, 0.40), (1.05, 0.40), (0.12, 0.12)),
        _walk(10, 120, (1.05, 0.45), (-0.05, 0.45), (0.17, 0.17)),
    ),
    # one turns away and back
    (_walk(0, 120, (0.2, 0.4), (0.75, 0.42), (0.14, 0.15), "turn", (0.35, 0.75)),),
    # from afar, too small at first
    (_walk(0, 130, (0.55, 0.3), (0.4, 0.4), (0.022, 0.16)),),
    # one hurries, blurred but for the end
    (_walk(0, 80, (1.05, 0.4), (0.2, 0.4), (0.14, 0.15), "blur", (-0.01, 0.65)),),
    # three at once, two side by side, one passing before them with the head turned at first
    (
        _walk(0, 150, (0.3, 0.36), (0.36, 0.38), (0.11, 0.12)),
        _walk(5, 150, (0.6, 0.36), (0.56, 0.38), (0.11, 0.12)),
        _walk(20, 130, (-0.05, 0.5), (1.05, 0.48), (0.2, 0.2), "turn", (0.0, 0.5)),
    ),
)


def _wall(width: int, height: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = (80 + 20 * np.sin(x / 97), 92 + 16 * np.cos(y / 61), 100 + 14 * np.sin((x + y) / 131))
    bricks = 10 * (((x // 64 + (y // 32) % 2 * 0.5) % 2 < 1) * 1.0)
    return np.asarray(np.clip(np.stack(waves, 2) + bricks[..., None], 0, 255), np.uint8)


def _head(portrait: Portrait, tall: int, turn: float, smear: int) -> tuple[Pixels, Pixels]:
    """Pixels and mask (`(h, w, 1)`, 0..255) of a head whose face is `tall` pixels high."""
    scale = tall / portrait.face[3]
    narrow = max(0.3, float(np.cos(turn * np.pi / 2))) if turn < _GONE else 0.9
    height, width = portrait.pixels.shape[:2]
    size = max(4, round(width * scale * narrow)), max(4, round(height * scale))
    pixels = np.asarray(
        cv2.resize(portrait.pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    )
    if turn >= _GONE:
        hair = pixels[: max(1, size[1] // 4), size[0] // 3 : max(size[0] // 3 + 1, 2 * size[0] // 3)]
        pixels = np.empty_like(pixels)
        pixels[:] = hair.reshape(-1, 3).mean(axis=0)
    elif smear > 1:
        pixels = np.asarray(cv2.blur(pixels, (smear, max(1, smear // 4))), np.uint8)
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.ellipse(mask, (size[0] // 2, size[1] // 2), (round(size[0] * 0.42), round(size[1] * 0.46)), 0, 0, 360, 255, -1)
    soft = max(1, size[0] // 20) * 2 + 1
    return np.asarray(pixels, np.uint8), np.asarray(cv2.GaussianBlur(mask, (soft, soft), 0), np.uint8)[..., None]


def _paste(picture: Pixels, pixels: Pixels, mask: Pixels, x: int, y: int) -> None:
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(picture.shape[1], x + pixels.shape[1]), min(picture.shape[0], y + pixels.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    place, inner = picture[y0:y1, x0:x1], (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    part = mask[inner].astype(np.uint16)
    place[:] = ((pixels[inner] * part + place * (255 - part)) // 255).astype(np.uint8)


def _covered(box: Box, by: Box) -> float:
    """Which share of a face a nearer head hides; the head is larger than its face."""
    x, y, w, h = by[0] - 0.3 * by[2], by[1] - 0.4 * by[3], 1.6 * by[2], 1.7 * by[3]
    wide = min(box[0] + box[2], x + w) - max(box[0], x)
    tall = min(box[1] + box[3], y + h) - max(box[1], y)
    return max(0.0, wide) * max(0.0, tall) / (box[2] * box[3])
