"""The gallery: durable store, vector index, identities."""

from vultus.index.audit import AuditEntry
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
    UnknownKind,
)
from vultus.index.export import Exported
from vultus.index.gallery import Gallery
from vultus.index.types import (
    FaceRecord,
    FileFaces,
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
    "AuditEntry",
    "Exported",
    "FaceRecord",
    "FileFaces",
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
    "UnknownKind",
    "Where",
]
