"""Stages on their own: what they are opened with, and the pictures they work on."""

from collections import Counter
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

from vultus.configs.schema import Config
from vultus.index import Gallery
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Boxes, Frame, Names, Origin, Preview, SourceState
from vultus.pipeline.stage import Context
from vultus.stages.registry import build
from vultus.stages.yunet import YuNet
from vultus.weights import Registry


class Surroundings:
    """A context whose counters and reports a test can look at."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.states: list[SourceState] = []
        self.changed = Event()
        self.shown: list[Preview | Boxes | Names] = []
        self.context = Context(stopping=Event(), report=self._report, count=self._count, show=self.shown.append)

    def look(self, item: int = 1, *, full: bool = False, awake: bool = False, veiled: bool = False) -> None:
        """Somebody looks at a camera for five seconds."""
        self.context.audience.renew(item, 5.0, full=full, awake=awake, veiled=veiled)

    def _report(self, state: SourceState) -> None:
        self.states.append(state)
        self.changed.set()

    def _count(self, name: str, count: int) -> None:
        self.counts[name] += count


@pytest.fixture
def surroundings() -> Surroundings:
    return Surroundings()


@pytest.fixture(scope="session")
def portraits(samples: tuple[Path, Any]) -> dict[str, np.ndarray]:
    """The sample photographs by name without ending, `(h, w, 3)` uint8 BGR."""
    found = {path.stem: cv2.imread(str(path)) for path in sorted(samples[0].glob("*.jpg"))}
    assert {"person_a_1", "person_a_2", "person_b_1", "person_b_2", "impostor_1", "impostor_2"} <= set(found)
    return found


@pytest.fixture(scope="session")
def yunet(registry: Registry) -> YuNet:
    config = Config()
    model = registry.resolve(config.models.detector)
    return YuNet(model.path, threads=1)


@pytest.fixture
def frame() -> Any:
    """Makes a `Frame` of a picture; keywords go into its origin."""

    def make(picture: np.ndarray, **origin: Any) -> Frame:
        given = {"item": 1, "attempt": 0, "source": "test", "seq": 0, "live": False, "time": 1e9, **origin}
        return Frame(origin=Origin(**given), image=Image(picture))

    return make


@pytest.fixture
def make(data_home: Path, registry: Registry, tmp_path: Path, surroundings: Any) -> Any:
    """Opens a stage on the gallery `tmp_path / "g"`."""
    opened = []

    def make(name: str, **config: Any) -> Any:
        stage = build(name, Config(gallery=str(tmp_path / "g"), **config), data_home)
        stage.open(surroundings.context)
        opened.append(stage)
        return stage

    yield make
    for stage in opened:
        stage.close()


@pytest.fixture
def gallery(tmp_path: Path, registry: Registry) -> Any:
    with Gallery.open(tmp_path / "g", model=registry.resolve(Config().models.embedder).fingerprint) as gallery:
        yield gallery
