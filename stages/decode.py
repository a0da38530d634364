"""From items to frames."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from vultus.configs.schema import Config
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Frame, Item, ItemEnd, Leave, Message, Noticed, Origin
from vultus.pipeline.stage import Context
from vultus.stages.zones import covered


class Decode:
    """Item → Frames and at last an ItemEnd, which says `refused` if the input could not be used."""

    name: ClassVar[str] = "decode"

    def __init__(self, config: Config) -> None:
        self._config = config

    def open(self, context: Context) -> None:
        """Nothing to load."""
        self._context = context

    def process(self, batch: Sequence[Message]) -> Iterator[Message]:
        """Lazily, so that of a long video one frame at a time is in memory.

        Photos and videos one after another; then all cameras and webcams of the batch together, until the job stops.
        Counters: `frames`, `refused` (items), `broken` (packets), and those of `camera.watch`.
        """
        live = []
        for message in batch:
            if isinstance(message, Leave | Noticed):
                continue  # of a camera that ended by itself meanwhile
            if not isinstance(message, Item):
                yield message
            elif message.live:
                live.append(message)
            elif message.kind == "video":
                yield from self._video(message)
            else:
                yield from self._photo(message)
        if live:
            from vultus.stages import camera  # here and below: FFmpeg is not loaded for photos, nor Pillow for cameras

            yield from camera.watch(live, self._config, self._context)

    def close(self) -> None:
        """Nothing to give back."""

    def _photo(self, item: Item) -> Iterable[Message]:
        from vultus.stages import photo

        origin = _origin(item, 0, None)
        try:
            file = photo.read(item.address, self._config.decode)
        except RefusedInput as error:
            yield self._refused(origin, error, *_stat(item.address))
            return
        try:
            pixels = photo.decode(file.data, self._config.decode)
        except RefusedInput as error:
            yield self._refused(origin, error, len(file.data), file.mtime_ns, file.digest)
            return
        self._context.count("frames", 1)
        yield Frame(origin=origin, image=covered(Image(pixels), item.view.zones))
        yield ItemEnd(
            origin=_origin(item, 1, None), frames=1, digest=file.digest, size=len(file.data), mtime_ns=file.mtime_ns
        )

    def _video(self, item: Item) -> Iterable[Message]:
        from vultus.stages import video

        frames = 0
        size, mtime_ns = _stat(item.address)
        last = _origin(item, 0, 0.0)
        try:
            for moment in video.read(item.address, self._config.decode, partial(self._context.count, "broken", 1)):
                origin = _origin(item, moment.number, moment.position)
                yield Frame(origin=origin, image=covered(moment.image, item.view.zones))
                frames += 1
                self._context.count("frames", 1)
                last = _origin(item, moment.number + 1, moment.position)
                if self._context.stopping.is_set():
                    return  # without an end: the item is not done, and is handed out again in the next run
        except RefusedInput as error:
            yield self._refused(last, error, size, mtime_ns)
            return
        yield ItemEnd(origin=last, frames=frames, size=size, mtime_ns=mtime_ns)

    def _refused(self, origin: Origin, error: RefusedInput, size: int, mtime_ns: int, digest: bytes = b"") -> ItemEnd:
        self._context.count("refused", 1)
        return ItemEnd(origin=origin, refused=str(error), digest=digest, size=size, mtime_ns=mtime_ns)


def _origin(item: Item, seq: int, position: float | None) -> Origin:
    """Of a frame read from a file. Its time is now: when a file says it was made is not reliable, its position is."""
    return Origin(
        item=item.item,
        attempt=item.attempt,
        source=item.source,
        seq=seq,
        live=False,
        time=time.time(),
        position=position,
        label=item.label,
        still=item.kind == "photo",
    )


def _stat(path: str) -> tuple[int, int]:
    """Size and time of change in nanoseconds; zeros for what is not there."""
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_size, info.st_mtime_ns
