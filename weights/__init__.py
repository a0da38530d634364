"""Models and sample photographs: manifest, registry and importers."""

from vultus.weights.errors import FetchFailed, ImportFailed, ModelMissing, ModelRefused, UnknownModel
from vultus.weights.registry import Check, Model, Progress, Registry, Status
from vultus.weights.samples import Sample, Samples

__all__ = [
    "Check",
    "FetchFailed",
    "ImportFailed",
    "Model",
    "ModelMissing",
    "ModelRefused",
    "Progress",
    "Registry",
    "Sample",
    "Samples",
    "Status",
    "UnknownModel",
]
