"""Live pictures of cameras, for whoever looks at them right now.

They are made where the decoder's planes are and go past all queues to whoever looks. Where faces have to be veiled it is
only known behind detection which places these are: then `track` makes them, of analysed frames only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vultus.configs.schema import Polygon
from vultus.configs.schema import Preview as Settings
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import MAX_JPEG, Box, Detections, Preview
from vultus.pipeline.stage import Context
from vultus.stages.grabber import Shot
from vultus.stages.veil import cover
from vultus.stages.waking import Attention
from vultus.stages.zones import covered

_OLD = 0.5
"""Seconds: a camera that wakes up decodes what it kept, of which no pictures are made."""
_HASTE = 0.5
"""Seconds between frames that are handed on only because somebody asked for a veiled picture."""


class Pace:
    """At most so many a second."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate
        self._due = -np.inf

    def due(self) -> bool:
        """Whether it is time for one, which then counts as made."""
        now = time.monotonic()
        if now < self._due:
            return False
        # From when it was due, not from now: of 25 frames a second 10 are taken, not every third.
        self._due = max(self._due + self._pause, now)
        return True


class Glimpses:
    """Pictures of one camera, made by the thread that decodes it."""

    def __init__(
        self, item: int, zones: Sequence[Polygon], settings: Settings, context: Context, attention: Attention | None
    ) -> None:
        self._item, self._zones, self._settings, self._context = item, zones, settings, context
        self._attention = attention
        self._pace, self._haste = Pace(settings.fps), Pace(1 / _HASTE)

    def see(self, when: float, shot: Shot) -> None:
        """A decoded frame, and when it arrived, in seconds since the epoch."""
        lease = self._context.audience.of(self._item)
        if lease is None or time.time() - when > _OLD:
            return
        if lease.veiled:
            if lease.asked and self._attention is not None and self._haste.due():
                self._attention.hasten()
            return
        small = lease.watched and self._pace.due()
        if not (small or lease.asked):
            return
        image = covered(shot(), self._zones)
        if small:
            self._context.show(picture(self._item, when, image, self._settings))
        if lease.asked:
            lease.given()
            self._context.show(picture(self._item, when, image, self._settings, full=True))


def show_veiled(
    message: Detections,
    tracks: Sequence[int],
    gone: Iterable[Box],
    pace: Pace,
    settings: Settings,
    context: Context,
) -> None:
    """Show the picture of an analysed frame of a live item, if one is due to somebody who may not see all faces.

    `tracks` are those of its faces, and `gone` where those were last who are not found in it but may be there.
    """
    lease = context.audience.of(message.origin.item)
    if lease is None or not lease.veiled:
        return
    small, full = lease.watched and pace.due(), lease.asked
    veiled = [face.box for face, track in zip(message.faces, tracks, strict=True) if track not in lease.clear]
    for whole in [False] * small + [True] * full:
        veils = [*veiled, *gone]
        shown = picture(message.origin.item, message.origin.time, message.image, settings, full=whole, veils=veils)
        context.show(shown)
    if full:
        lease.given()


def picture(
    item: int,
    when: float,
    image: Image,
    settings: Settings,
    *,
    full: bool = False,
    veils: Sequence[Box] | None = None,
) -> Preview:
    """`image`, made smaller if it is larger than the settings say, with the faces in `veils` (boxes in it) covered."""
    side = settings.snapshot_side if full else settings.side
    scale = min(1.0, side / max(image.width, image.height))
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    pixels = image.scaled(width, height)
    if veils:
        pixels = pixels.copy()
        for x, y, w, h in veils:
            cover(pixels, (x * scale, y * scale, w * scale, h * scale))
    return Preview(
        item=item,
        time=when,
        width=width,
        height=height,
        jpeg=jpeg(pixels, settings.quality),
        full=full,
        veiled=veils is not None,
    )


def jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG file of `pixels`, `(h, w, 3)` uint8 BGR; of less quality if it would be larger than a picture may be."""
    while True:
        good, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
        if not good:
            raise ValueError(f"OpenCV wrote no JPEG of a picture {pixels.shape} {pixels.dtype}")
        if data.nbytes <= MAX_JPEG or quality <= 1:
            return bytes(data)
        quality //= 2
