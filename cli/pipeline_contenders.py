"""Who analyses a film how fast, and whom it names: the pipeline, and the loop that one would write first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.cli.film_judge import Said, Verdict, judge
from vultus.cli.scenes import RATE, Film, Portrait, cut_out
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config, Models
from vultus.index import Gallery
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.messages import Item, ItemDone, Sighting
from vultus.pipeline.metrics import WorkerMetrics
from vultus.pipeline.supervisor import Pipeline
from vultus.stages import yunet
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.stages.sources import kind_of
from vultus.weights import Registry

_SURE = 0.08
"""How far a person's photographs must be above the threshold to be cast, a stranger's below it: whether two photographs
resemble each other is the embedder's affair, not the pipeline's."""


class Cast(Struct, frozen=True, kw_only=True, eq=False):
    """Who appears, and whom the gallery knows."""

    portraits: tuple[Portrait, ...]
    known: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    """`(len(known), dim)`, of other photographs."""
    photos: tuple[Path, ...]
    """The photographs of `vectors`."""


class Row(Struct, frozen=True, kw_only=True):
    """One contender on the film as a file, as fast as it can."""

    contender: str
    fps: float
    """Frames of the film for each second, with the start of processes and loading of models taken off."""
    seconds: float
    analysed: int
    """Frames that the detector saw."""
    embeddings_per_visit: float
    verdict: Verdict


def cast(folder: Path, config: Config, most: int, strangers: int) -> Cast:
    """People of a folder of folders: up to `most` with two photographs, and `strangers` of whom the gallery has none.

    Of the former one photograph is enrolled and another is shown. Raises ValueError if there are fewer than three in all.
    """
    shown: list[Portrait] = []
    names: list[str] = []
    photos: list[Path] = []
    vectors: list[npt.NDArray[np.float32]] = []
    aside: list[tuple[FoundFace, Portrait]] = []
    with FaceFinder(config) as finder:
        threshold = finder.threshold
        for person in sorted(path for path in folder.iterdir() if path.is_dir()):
            if len(names) >= most and len(aside) >= strangers:
                break
            files = [path for path in sorted(person.iterdir()) if kind_of(str(path)) == "photo"][:2]
            faces = [found for path in files if (found := _lone(finder, path)) is not None]
            if len(faces) == 2 and len(names) < most:
                first, second = faces[0][0].vector, faces[1][0].vector
                others = [float(first @ other) for other in vectors] + [float(second @ other) for other in vectors]
                if float(first @ second) < threshold + _SURE or max(others, default=-1.0) > threshold - _SURE:
                    continue
                names.append(person.name)
                vectors.append(first)
                photos.append(files[0])
                shown.append(cut_out(faces[1][1], faces[1][0].box, person.name, known=True))
            elif len(faces) == 1 == len(files) and len(aside) < strangers:
                aside.append((faces[0][0], cut_out(faces[0][1], faces[0][0].box, person.name, known=False)))
    # A stranger who resembles somebody would be a fault of the embedder.
    shown += [
        portrait for face, portrait in aside if all(float(face.vector @ other) < threshold - _SURE for other in vectors)
    ]
    if not names or len(shown) < 3:
        raise ValueError(f"{folder}: needs at least one person with two photographs, and three people in all")
    return Cast(portraits=tuple(shown), known=tuple(names), vectors=np.stack(vectors), photos=tuple(photos))


def _lone(finder: FaceFinder, path: Path) -> tuple[FoundFace, npt.NDArray[np.uint8]] | None:
    try:
        image = finder.read(path)
    except RefusedInput:
        return None
    faces = finder.find(image)
    return (faces[0], image) if len(faces) == 1 else None


def enrol(people: Cast, config: Config) -> None:
    """Put the known people into the configured gallery."""
    model = Registry(data_folder()).resolve(config.models.embedder, "embedder")
    assert config.gallery is not None
    with Gallery.open(config.gallery, model=model.fingerprint) as gallery:
        gallery.enrol_many(list(people.known), people.vectors)


def counted(workers: Sequence[WorkerMetrics], stage: str, name: str) -> int:
    """What the processes that run a stage counted."""
    return sum(worker.counters.counts.get(name, 0) for worker in workers if stage in worker.stages)


def pipeline(film: Film, path: Path, config: Config, name: str) -> Row:
    """The film as a file through `vultus watch`."""
    said: list[Said] = []
    item = Item(item=1, attempt=0, kind="video", source="film", address=str(path))
    with Pipeline(config, config.pipeline.watch, live_sources=0, has_files=True) as job:
        _opened(job)
        begun = time.perf_counter()
        end = begun
        for result in job.run([item]):
            if isinstance(result, Sighting) and result.position is not None:
                said.append(
                    Said(frame=round(result.position * RATE), box=result.box, name=result.name, track=result.track)
                )
            elif isinstance(result, ItemDone):
                end = time.perf_counter()
                if result.status != "done":
                    raise RuntimeError(f"{path}: {result.reason}")
    workers = job.metrics()
    return _row(
        name, film, end - begun, said, counted(workers, "detect", "analysed"), counted(workers, "embed", "faces")
    )


def plain_loop(film: Film, path: Path, people: Cast, config: Config, threshold: float) -> Row:
    """OpenCV alone, every frame, at the same size for the detector: VideoCapture, FaceDetectorYN, FaceRecognizerSF."""
    registry, models = Registry(data_folder()), Models()
    recogniser = cv2.FaceRecognizerSF.create(str(registry.resolve(models.embedder).path), "")
    known = _features(recogniser, people, registry)
    capture = cv2.VideoCapture(str(path))
    width, height = film.size
    scale = min(1.0, config.detect.max_side / max(film.size))
    small = round(width * scale), round(height * scale)
    detector = cv2.FaceDetectorYN.create(
        str(registry.resolve(models.detector).path), "", small, yunet.SCORE, yunet.NMS_IOU
    )
    said: list[Said] = []
    number = embeddings = 0
    begun = time.perf_counter()
    while True:
        good, image = capture.read()
        if not good:
            break
        _, faces = detector.detect(image if scale == 1 else cv2.resize(image, small, interpolation=cv2.INTER_AREA))
        for face in () if faces is None else faces:
            face[:14] /= scale
            vector = recogniser.feature(recogniser.alignCrop(image, face)).ravel()
            embeddings += 1
            near = known @ (vector / np.linalg.norm(vector))
            best = int(near.argmax())
            if near[best] >= threshold:
                x, y, w, h = (float(value) for value in face[:4])
                said.append(Said(frame=number, box=(x, y, w, h), name=people.known[best], track=0))
        number += 1
    seconds = time.perf_counter() - begun
    capture.release()
    return _row("plain OpenCV loop", film, seconds, said, number, embeddings)


def _features(recogniser: cv2.FaceRecognizerSF, people: Cast, registry: Registry) -> npt.NDArray[np.float32]:
    """The enrolled photographs as the plain loop sees them, rows of length 1."""
    rows = []
    for path in people.photos:
        image = cv2.imread(str(path))
        assert image is not None, path
        detector = cv2.FaceDetectorYN.create(
            str(registry.resolve(Models().detector).path), "", image.shape[1::-1], yunet.SCORE
        )
        _, faces = detector.detect(image)
        if faces is None:
            raise ValueError(f"{path}: OpenCV finds no face")
        row = recogniser.feature(recogniser.alignCrop(image, faces[0])).ravel()
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def _opened(job: Pipeline) -> None:
    """Wait until every process has loaded its models."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        workers = job.metrics()
        if workers and all(worker.state == "running" for worker in workers):
            return
        time.sleep(0.05)
    raise TimeoutError("the stage processes did not start within 60 s")


def _row(name: str, film: Film, seconds: float, said: Sequence[Said], analysed: int, embeddings: int) -> Row:
    return Row(
        contender=name,
        fps=film.frames / seconds,
        seconds=seconds,
        analysed=analysed,
        embeddings_per_visit=embeddings / max(1, len(film.visits)),
        verdict=judge(film, said, frames=range(film.frames)),
    )


def every_frame(config: Config) -> Config:
    """The configuration with every frame of a file analysed."""
    return msgspec.structs.replace(config, decode=msgspec.structs.replace(config.decode, video_step=1))
