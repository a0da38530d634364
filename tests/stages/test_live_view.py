"""Looking at a camera of a whole job: real stages, real processes, a film that is played as a camera would send it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media import Walk, frames, portrait

from vultus.configs.schema import Config
from vultus.index import FaceRecord, Gallery
from vultus.pipeline.messages import Item, Mark, Preview
from vultus.pipeline.supervisor import Pipeline
from vultus.stages import video
from vultus.stages.finder import FaceFinder
from vultus.weights import Registry


@pytest.fixture
def film(samples: tuple[Path, Any], tmp_path: Path) -> Path:
    """Anna, whom the gallery knows by another photograph, on the left, and somebody on the right, for a minute."""
    anna, other = (portrait(samples[0] / name, 260) for name in ("person_a_2.jpg", "person_b_1.jpg"))
    walks = [Walk(anna, (60, 60), (120, 90)), Walk(other, (500, 60), (470, 80))]
    video.write(tmp_path / "film.mp4", frames(walks, 60 * 4, (800, 450)), 4)
    return tmp_path / "film.mp4"


@pytest.fixture
def gallery(tmp_path: Path, registry: Registry, data_home: Path, samples: tuple[Path, Any]) -> Iterator[Gallery]:
    model = registry.resolve(Config().models.embedder).fingerprint
    with FaceFinder(data=data_home) as finder, Gallery.open(tmp_path / "g", model=model) as gallery:
        (face,) = finder.find(cv2.imread(str(samples[0] / "person_a_1.jpg")))
        gallery.enrol("Anna", [face.vector], [FaceRecord()])
        yield gallery


class Looking:
    """Reads what a job shows."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._pictures: dict[bool, Preview] = {}
        self._both: dict[bool, tuple[Preview, list[Mark]]] = {}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for shown in self._pipeline.shown():
            if isinstance(shown, Preview):
                self._pictures[shown.veiled] = shown
                continue
            marks = sorted(shown.marks, key=lambda mark: mark.box[0])
            for veiled, picture in self._pictures.items():
                # Veiled ones show a name's face only once the name went back to where pictures are made.
                decided = [mark.state for mark in marks] == ["known", "unknown"]
                if decided and abs(picture.time - shown.time) < 0.3 and is_there(picture, marks[0]):
                    self._both[veiled] = picture, marks

    def decided(self, *, veiled: bool) -> tuple[Preview, list[Mark]]:
        """A picture and its marks, once it is known who the two are."""
        end = time.monotonic() + 40
        while veiled not in self._both:
            self._pipeline.view(1, 2.0, veiled=veiled)
            assert time.monotonic() < end, (self._pictures.keys(), self._both)
            time.sleep(0.3)
        return self._both[veiled]


def is_there(picture: Preview, mark: Mark) -> bool:
    """Whether a face can be seen in a picture, rather than a few squares: whether it has anything fine in it."""
    pixels = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    x, y, w, h = (round(value * picture.width / 800) for value in mark.box)
    steps = np.abs(np.diff(pixels[y : y + h, x : x + w].astype(float), axis=1))
    return bool((steps > 3).mean() > 0.3)


@pytest.mark.slow
def test_boxes_names_and_pictures_of_a_camera(gallery: Gallery, film: Path, tmp_path: Path) -> None:
    config = Config(gallery=str(tmp_path / "g"))
    item = Item(item=1, attempt=0, kind="paced", source="door", address=str(film))
    with Pipeline(config, config.pipeline.watch, live_sources=1, has_files=False) as pipeline:
        threading.Thread(target=lambda: list(pipeline.run([item]))).start()
        looking = Looking(pipeline)
        for veiled in (False, True):
            picture, (anna, other) = looking.decided(veiled=veiled)
            assert (anna.name, other.name, other.reason) == ("Anna", None, "below_threshold")
            assert anna.similarity is not None
            assert anna.similarity > 0.4
            full = pipeline.snapshot(1, veiled=veiled, timeout=10)
            assert (picture.width, picture.height, picture.veiled) == (640, 360, veiled)
            assert (full.width, full.height, full.veiled, full.full) == (800, 450, veiled, True)
            for shown in (picture, full):
                assert is_there(shown, anna)
                assert is_there(shown, other) != veiled
        pipeline.stop()
