"""What there is to do: from addresses, files and folders to items."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct, structs

from vultus.configs.address import redact
from vultus.configs.schema import Source, View
from vultus.pipeline.messages import Item
from vultus.stages.reach import PORTS, host

_LATEST = 2**63 - 1
"""Times of change beyond this (the year 2262) count as this: it is what a database remembers."""
Kind = Literal["photo", "video", "camera", "webcam", "paced"]

PHOTO_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".heic", ".heif")
)
VIDEO_ENDINGS = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp",
     ".ogv", ".vob", ".mxf", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg")
)  # fmt: skip
CAMERA_SCHEMES = frozenset(PORTS)


class Found(Struct, frozen=True, kw_only=True):
    """A photo, a video, a camera or a webcam."""

    kind: Kind
    source: str
    """How it is called in outputs: given name, absolute path, or address without password."""
    address: str
    """Absolute path or URL; may hold a password."""
    label: str | None = None
    """Name of the folder that holds the file, if labels come from folders; none for files in a named folder itself."""
    size: int = 0
    mtime_ns: int = 0
    """Both as the file system has them now; 0 for cameras."""
    view: View = View()

    def item(self, number: int, attempt: int = 0) -> Item:
        """As work for `decode`."""
        return Item(
            item=number,
            attempt=attempt,
            kind=self.kind,
            source=self.source,
            address=self.address,
            label=self.label,
            view=self.view,
        )


class Unusable(Struct, frozen=True, kw_only=True):
    """Something that was named, or met on the way, and cannot be used."""

    source: str
    reason: str


def find(addresses: Iterable[str | Source], *, label_from_folder: bool = False) -> Iterator[Found | Unusable]:
    """Everything behind `addresses`, in their order: URLs, `webcam:N`, files, folders, `*` and `?` patterns.

    Folders are walked lazily, entries sorted by name, files of a folder before its subfolders; hidden entries and files
    that are neither photo nor video by their ending are passed over, links are followed but no folder is entered twice.
    A file named on its own is taken whatever its ending. Nothing is found twice in one call.
    """
    walk = _Walk(label_from_folder)
    for given in addresses:
        source = given if isinstance(given, Source) else Source(address=given)
        for found in walk.address(source):
            yield found if isinstance(found, Unusable) else _seen_as(found, source.view)


def _seen_as(found: Found, view: View) -> Found:
    paced = found.kind == "video" and view.paced
    return structs.replace(found, kind="paced" if paced else found.kind, view=view)


class _Walk:
    def __init__(self, label_from_folder: bool) -> None:
        self._label = label_from_folder
        self._folders: set[tuple[int, int]] = set()
        self._files: set[str] = set()

    def address(self, given: Source) -> Iterator[Found | Unusable]:
        scheme, separator, rest = given.address.partition(":")
        if not given.address:
            # As a path it would be the current folder, which nobody means who writes `vultus index "$UNSET"`.
            yield Unusable(source="''", reason="an empty name")
        elif separator and rest.startswith("//"):
            yield _camera(given, scheme.lower())
        elif separator and scheme.lower() == "webcam":
            if rest.isdecimal() and len(rest) <= 3:
                yield Found(kind="webcam", source=given.name or given.address, address=f"webcam:{int(rest)}")
            else:
                yield Unusable(source=given.address, reason="a webcam is called webcam:0, webcam:1 and so on")
        elif not os.path.lexists(given.address) and glob.has_magic(given.address):
            matches = sorted(glob.iglob(given.address, recursive=True))
            if not matches:
                yield Unusable(source=given.address, reason="no file fits this pattern")
            for match in matches:
                yield from self._path(match, None)
        else:
            yield from self._path(given.address, given.name)

    def _path(self, path: str, name: str | None) -> Iterator[Found | Unusable]:
        path = os.path.abspath(os.path.expanduser(path))
        try:
            info = os.stat(path)
        except OSError as error:
            yield Unusable(source=name or path, reason=_reason(error))
            return
        if stat.S_ISDIR(info.st_mode):
            yield from self._folder(path, info)
        else:
            yield from self._file(path, info, kind_of(path) or _sniffed(path), name, _folder_name(path))

    def _folder(self, path: str, info: os.stat_result) -> Iterator[Found | Unusable]:
        # A stack of its own: a deep tree is no reason for a RecursionError.
        root, pending = path, [(path, info)]
        while pending:
            path, info = pending.pop()
            if (info.st_dev, info.st_ino) in self._folders:
                continue
            self._folders.add((info.st_dev, info.st_ino))
            try:
                names = sorted(entry for entry in os.listdir(path) if not entry.startswith("."))
            except OSError as error:
                yield Unusable(source=path, reason=_reason(error))
                continue
            below = []
            for entry in names:
                inner = os.path.join(path, entry)
                try:
                    inner_info = os.stat(inner)
                except OSError as error:
                    if kind_of(inner) is not None:
                        yield Unusable(source=inner, reason=_reason(error))
                    continue
                if stat.S_ISDIR(inner_info.st_mode):
                    below.append((inner, inner_info))
                elif (kind := kind_of(inner)) is not None:
                    # Pictures that lie in the named folder itself are in nobody's folder.
                    label = _folder_name(inner) if path != root else None
                    yield from self._file(inner, inner_info, kind, None, label)
            pending.extend(reversed(below))

    def _file(
        self, path: str, info: os.stat_result, kind: Kind, name: str | None, label: str | None
    ) -> Iterator[Found | Unusable]:
        if path in self._files:
            return
        self._files.add(path)
        try:
            path.encode()
        except UnicodeEncodeError:
            yield Unusable(source=path.encode(errors="replace").decode(), reason="its name is not UTF-8; rename it")
            return
        if not stat.S_ISREG(info.st_mode):
            yield Unusable(source=name or path, reason="not a regular file")
            return
        yield Found(
            kind=kind,
            source=name or path,
            address=path,
            label=label if self._label else None,
            size=info.st_size,
            mtime_ns=min(info.st_mtime_ns, _LATEST),
        )


def kind_of(path: str) -> Literal["photo", "video"] | None:
    """What a file is by the ending of its name."""
    ending = os.path.splitext(path)[1].lower()
    if ending in PHOTO_ENDINGS:
        return "photo"
    return "video" if ending in VIDEO_ENDINGS else None


def _folder_name(path: str) -> str | None:
    return os.path.basename(os.path.dirname(path)) or None


def _camera(given: Source, scheme: str) -> Found | Unusable:
    name = given.name or redact(given.address)
    if scheme not in CAMERA_SCHEMES:
        known = ", ".join(sorted(CAMERA_SCHEMES))
        return Unusable(source=name, reason=f"addresses begin with one of {known}, not {scheme}")
    if not host(given.address):
        return Unusable(source=name, reason=f"an address names a host: {scheme}://HOST/PATH")
    return Found(kind="camera", source=name, address=given.address)


def _sniffed(path: str) -> Literal["photo", "video"]:
    """For a file without a telling ending: a picture if its first bytes are those of a picture."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            head = file.read(16)
    except OSError:
        return "photo"  # whoever decodes it will say why it cannot be read
    marks: tuple[tuple[int, bytes], ...] = (
        (0, b"\xff\xd8\xff"), (0, b"\x89PNG"), (8, b"WEBP"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"BM"), (0, b"GIF8"),
        (4, b"ftyphei"), (4, b"ftypmif"),
    )  # fmt: skip
    return "photo" if any(head[at:].startswith(mark) for at, mark in marks) else "video"


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"
