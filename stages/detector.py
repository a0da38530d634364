"""From the name of a detector in the configuration to the detector, whatever its family."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from vultus.configs.loader import data_folder
from vultus.configs.schema import Config
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Face
from vultus.stages.view import View
from vultus.weights import Model, Registry


class Detector(Protocol):
    """A loaded detector; `find` may be called from any number of threads."""

    def find(self, view: View) -> list[Face]:
        """Faces of what is shown, in pixels of `view.image`, highest score first. Landmarks of a face that has none all lie
        in one point."""


def open_detector(config: Config, data: Path | None = None) -> Detector:
    """The detector that `config.models.detector` names, with the limits of `config.detect`; for scripts and the stage.

    `data` (none: the user's data folder) holds the models. Raises UnknownModel, ModelMissing with the command that fetches
    it and what it needs, or ModelRefused; and ValueError for a graph that the backend does not compute.
    """
    registry = Registry(data or data_folder())
    registry.need(config.models.detector)
    model = registry.resolve(config.models.detector, "detector")
    return _opened(model, registry, config)


def _opened(model: Model, registry: Registry, config: Config) -> Detector:
    backend, limits = config.models.backend, config.detect
    parts = [registry.resolve(part, "part").path for part in model.needs]
    threads, score, iou = limits.threads, limits.score, limits.nms_iou
    # Imported here: a process has one detector.
    if model.family == "ultra-light":
        from vultus.stages.ultralight import UltraLight

        return UltraLight(model.path, *parts, threads=threads, score=score, nms_iou=iou, backend=backend)
    if model.family == "mtcnn":
        from vultus.stages.mtcnn import Mtcnn

        smallest = limits.min_face
        return Mtcnn(model.path, *parts, threads=threads, min_face=smallest, score=score, nms_iou=iou, backend=backend)
    if model.family == "scrfd":
        from vultus.stages.scrfd import Scrfd

        return Scrfd(model.path, threads=threads, score=score, nms_iou=iou, backend=backend)
    from vultus.stages.yunet import YuNet

    return YuNet(model.path, threads=threads, score=score, nms_iou=iou, backend=backend)


def look(detector: Detector, image: Image, max_side: int) -> list[Face]:
    """Faces of `image` in its own pixels, found at a size of at most `max_side`."""
    return detector.find(View(image, max_side))
