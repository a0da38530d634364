"""Support for tests of the command line: how it is called, what it answered, photographs to index, and what came of it."""

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from vultus.cli.main import main
from vultus.index import Gallery

_IMPORTED_BY_COMMANDS = [f"vultus.cli.{name}" for name in ("acts", "gallery", "index", "query", "sightings")]

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

# Commands are forked from a process that has imported what they need: a second of work saved at each of some hundred.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "cli_process", *_IMPORTED_BY_COMMANDS])


def _command(arguments: list[str], printed: list[Path], environment: dict[str, str]) -> None:
    """What the console script does, in a process of its own, with nothing to read and files to print to."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # to be taken from the environment anew
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.exit(main(arguments))


def call(arguments: list[str], folder: Path, timeout: float) -> Answer:
    """Run `vultus ARGUMENTS`; what it prints goes through files in `folder`."""
    printed = [folder / "out", folder / "err"]
    process = _FORKS.Process(target=_command, args=(arguments, printed, dict(os.environ)))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"vultus {arguments} did not end in {timeout} s")
    out, err = (path.read_text() for path in printed)
    return Answer(process.exitcode, out, err)


def contents(folder: Path) -> dict[tuple[str, tuple[float, ...]], tuple[str | None, np.ndarray]]:
    """Every face of a gallery by where it was seen; a face that is stored twice fails here."""
    found: dict[Any, Any] = {}
    with Gallery.open(folder, create=False) as gallery:
        assert gallery.verify().ok
        listed = [face for owner in (None, *(one.id for one in gallery.identities())) for face in gallery.faces(owner)]
        for face in (gallery.face(one.id) for one in listed):
            assert face.box is not None
            assert face.vector is not None
            key = (face.source, tuple(round(value, 3) for value in face.box))
            assert key not in found, f"{key} is stored twice"
            found[key] = (face.name, face.vector)
    return found


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
