"""The gallery: durable store, exact vector index, identities."""

from vultus.index.errors import (
    GalleryBusy,
    GalleryClosed,
    GalleryCorrupt,
    GalleryError,
    GalleryNotFound,
    ModelMismatch,
    NameTaken,
    StorageError,
    UnknownFace,
    UnknownFormat,
    UnknownIdentity,
)
from vultus.index.gallery import Gallery
from vultus.index.types import (
    FaceRecord,
    FileRecord,
    Identity,
    KnownFile,
    Match,
    Report,
    Sighting,
    Stats,
    StoredFace,
    Where,
)

__all__ = [
    "FaceRecord",
    "FileRecord",
    "Gallery",
    "GalleryBusy",
    "GalleryClosed",
    "GalleryCorrupt",
    "GalleryError",
    "GalleryNotFound",
    "Identity",
    "KnownFile",
    "Match",
    "ModelMismatch",
    "NameTaken",
    "Report",
    "Sighting",
    "Stats",
    "StorageError",
    "StoredFace",
    "UnknownFace",
    "UnknownFormat",
    "UnknownIdentity",
    "Where",
]
