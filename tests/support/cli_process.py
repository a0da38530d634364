"""Support for tests of the command line: how it is called, what it answered, and photographs to index."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

COMMAND = [sys.executable, "-m", "vultus.cli.entry"]


class Answer(msgspec.Struct):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of standard output."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def lines(self) -> list[Any]:
        """Every line of standard output, each a JSON value."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Answer]


def make_photos(folder: Path, originals: Path, count: int, seed: int) -> None:
    """`count` small photographs, each different, in folders of twenty."""
    rand = np.random.default_rng(seed)
    faces = [Image.open(path).convert("RGB") for path in sorted(originals.glob("[pi]*_*.jpg"))]
    for number in range(count):
        picture = faces[number % len(faces)].copy()
        picture.thumbnail((360, 360))
        page = Image.new("RGB", (400, 400), tuple(int(value) for value in rand.integers(0, 256, 3)))
        page.paste(picture, (int(rand.integers(0, 40)), int(rand.integers(0, 40))))
        place = folder / f"{number // 20:03d}"
        place.mkdir(parents=True, exist_ok=True)
        page.save(place / f"{number:05d}.jpg", quality=90)
