"""What can go wrong with a gallery; every class is also the builtin that callers would catch without knowing us."""

from __future__ import annotations


class GalleryError(Exception):
    """Root of the gallery's errors."""


class GalleryClosed(GalleryError, ValueError):
    """The gallery was closed, or this process is a fork of the one that opened it."""


class GalleryNotFound(GalleryError, FileNotFoundError):
    """There is no gallery at the path, and none was to be made."""

    __str__ = Exception.__str__


class UnknownFormat(GalleryError, ValueError):
    """What lies at the path is not a gallery, or a newer program wrote it. It has not been touched."""


class GalleryCorrupt(GalleryError, ValueError):
    """The database itself is damaged. (A damaged snapshot is no error: it is rebuilt.)"""


class ModelMismatch(GalleryError, ValueError):
    """The gallery holds vectors of another embedding model."""


class UnknownIdentity(GalleryError, KeyError):
    """No person of that name or number is in the gallery."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class UnknownFace(GalleryError, KeyError):
    """No face of that number is in the gallery."""

    __str__ = Exception.__str__


class CannotUndo(GalleryError, ValueError):
    """An act cannot be undone any more; the message says why. Nothing was changed."""


class NameTaken(GalleryError, ValueError):
    """Another person of the gallery already has that name."""


class GalleryBusy(GalleryError, TimeoutError):
    """Another process kept the gallery to itself for longer than the time limit. Nothing was written."""

    __str__ = Exception.__str__


class StorageError(GalleryError, OSError):
    """The disk is full, read-only or failing. What was acknowledged before is unharmed; this write did not happen.

    `errno` tells which: `ENOSPC`, `EROFS` or `EIO`.
    """

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno

    __str__ = Exception.__str__


class GalleryUnreachable(StorageError, ConnectionError):
    """The database server does not answer, or went away. `errno` is `ECONNREFUSED` or `ECONNRESET`.

    If it went away while a write was being committed, the message says that the write may have been kept.
    """


class AccessDenied(GalleryError, PermissionError):
    """The database server refused user or password, or the user may not do this there."""

    __str__ = Exception.__str__


class DriverMissing(GalleryError, ImportError):
    """The gallery is in a database whose driver is not installed."""

    __str__ = Exception.__str__


class NotInDatabase(GalleryError, NotImplementedError):
    """A gallery in a database server does this by the server's own means, which the message names."""


class WrongKey(GalleryError, PermissionError):
    """The gallery is encrypted and the key is missing or another one, or there is a key and it is not encrypted."""

    __str__ = Exception.__str__


class UnknownKind(GalleryError, ValueError):
    """There is no index of that kind."""


class Denied(GalleryError, ValueError):
    """It was said that this face, or this person, is not that person; nothing was changed."""


class UnknownSighting(GalleryError, KeyError):
    """No such sighting, or picture of one, is in the gallery, or no longer."""

    __str__ = Exception.__str__


class UnknownDenial(GalleryError, KeyError):
    """No such negative example is in the gallery."""

    __str__ = Exception.__str__
