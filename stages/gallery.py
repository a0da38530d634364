"""The gallery that a job works on, and when two faces of it are one person."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vultus.configs.schema import Config
from vultus.index import Gallery, configured
from vultus.weights import Model, Registry

Origin = Literal["configuration", "calibration", "model"]


def open_gallery(config: Config, data: Path) -> tuple[Gallery, Model]:
    """The configured gallery and the embedder that fills it; ModelMismatch if another one did."""
    model = Registry(data).resolve(config.models.embedder, "embedder")
    return configured.open_gallery(config, model.fingerprint, create=True), model


def unknown_threshold(config: Config, model: Model) -> float | None:
    """What strangers are told apart by, as `threshold`; none if nobody is to become an unknown person."""
    return threshold(config, model) if config.match.unknown_people else None


def threshold_origin(config: Config, gallery: Gallery) -> Origin:
    """Where `threshold` of this gallery comes from."""
    if config.match.threshold is not None:
        return "configuration"
    found = gallery.calibration.current()
    return "model" if found is None or found.threshold is None else "calibration"


def threshold(config: Config, model: Model, gallery: Gallery | None = None) -> float:
    """Cosine at or above which two faces are one person: the configured one, the one that `gallery` was calibrated to, or
    the model's. ValueError if there is none."""
    given = config.match.threshold
    if given is None and gallery is not None and (found := gallery.calibration.current()) is not None:
        given = found.threshold
    if given is None:
        given = model.threshold
    if given is None:
        raise ValueError(f"{model.name} suggests no threshold; set match.threshold")
    return given
