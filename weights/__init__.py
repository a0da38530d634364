"""Models and sample photographs: manifest, registry and importers."""

from vultus.weights.backend import Backend, Embedder, PictureNetwork, open_embedder, open_network
from vultus.weights.errors import (
    BackendMissing,
    FetchFailed,
    ImportFailed,
    LicenceNotAccepted,
    ModelMissing,
    ModelRefused,
    UnknownModel,
)
from vultus.weights.registry import Check, Model, Progress, Registry, Status
from vultus.weights.samples import Sample, Samples

__all__ = [
    "Backend",
    "BackendMissing",
    "Check",
    "Embedder",
    "FetchFailed",
    "ImportFailed",
    "LicenceNotAccepted",
    "Model",
    "ModelMissing",
    "ModelRefused",
    "PictureNetwork",
    "Progress",
    "Registry",
    "Sample",
    "Samples",
    "Status",
    "UnknownModel",
    "open_embedder",
    "open_network",
]
