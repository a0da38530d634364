"""Pictures and videos with the faces drawn in that a detector found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.cli.picture import Mark, marked, picture_file
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face
from vultus.stages import video
from vultus.stages.sources import Found

_FILM = ".mp4"
_MOST_SIDE = 1920
"""Of a video that is written; larger ones are shrunk."""
_MOST_RATE = 60


class Drawn(Struct, frozen=True, kw_only=True):
    """A frame with the faces in it."""

    image: Image
    faces: tuple[Face, ...]
    position: float | None
    """Seconds into a video."""

    def pixels(self) -> npt.NDArray[np.uint8]:
        """`(h, w, 3)` uint8 BGR, with boxes, scores and landmarks."""
        marks = [Mark(box=face.box, text=f"{face.score:.2f}", known=True, points=face.landmarks) for face in self.faces]
        return marked(self.image.array, marks)


class Target:
    """Where drawings go: one file, or a folder with a file for each input."""

    def __init__(self, out: Path, found: Sequence[Found]) -> None:
        """Complains, before any work is done, of a FILE that does not suit its one input, and of a folder that cannot be."""
        self.written: list[Path] = []
        self._out, self._folder = out, len(found) != 1 or out.is_dir()
        if self._folder:
            if out.exists() and not out.is_dir():
                raise click.BadParameter(
                    f"{out} is a file; of several inputs drawings go into a folder", param_hint="--out"
                )
            out.mkdir(parents=True, exist_ok=True)
        elif found[0].kind == "photo":
            picture_file(click.get_current_context(), None, out)
        elif out.suffix.lower() != _FILM or not out.absolute().parent.is_dir():
            raise click.BadParameter(f"{out} does not end in {_FILM}, or is in no folder", param_hint="--out")

    def draw(self, found: Found, frames: Iterator[Drawn]) -> None:
        """Write what comes; nothing if nothing comes."""
        first = next(frames, None)
        if first is None:
            return
        if found.kind == "photo":
            path = self._path(found, ".jpg")
            _save(path, first.pixels())
        else:
            path = self._path(found, _FILM)
            _film(path, first, frames)
        self.written.append(path)

    def _path(self, found: Found, suffix: str) -> Path:
        if not self._folder:
            return self._out
        stem = Path(found.address).stem
        path, number = self._out / f"{stem}{suffix}", 1
        while path in self.written:
            number += 1
            path = self._out / f"{stem}-{number}{suffix}"
        if path.exists() and path.samefile(found.address):
            raise click.UsageError(f"--out {self._out}: {path} would be written over, and it is an input")
        return path


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    from PIL import Image as Pillow

    Pillow.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(path)


def _film(path: Path, first: Drawn, rest: Iterator[Drawn]) -> None:
    """A video as fast as the frames that were looked at, all of the first one's size."""
    second = next(rest, None)
    step = (second.position or 0.0) - (first.position or 0.0) if second is not None else 1.0
    rate = max(1, min(_MOST_RATE, round(1 / step))) if step > 0 else 1
    scale = min(1.0, _MOST_SIDE / max(first.image.width, first.image.height))
    size = (max(2, round(first.image.width * scale) & ~1), max(2, round(first.image.height * scale) & ~1))
    frames = chain([first], [] if second is None else [second], rest)
    video.write(path, (_sized(frame.pixels(), size) for frame in frames), rate)


def _sized(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
