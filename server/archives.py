"""Folders that may be indexed, and files that were uploaded to be."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from msgspec import Struct

from vultus.configs.loader import server_folder
from vultus.configs.schema import Config
from vultus.configs.serving import Archives as Rules
from vultus.server.problems import Problem
from vultus.stages.sources import kind_of

_MOST_ENTRIES = 5000
_LONGEST_NAME = 200


class Folder(Struct, frozen=True, kw_only=True):
    """A folder of an archive, by what lies directly in it."""

    path: str
    """Absolute."""
    folders: tuple[str, ...]
    photos: int
    videos: int


class Upload(Struct, frozen=True, kw_only=True):
    """Files that were uploaded together."""

    id: str
    path: str
    files: int
    size: int


class Archives:
    """What the API may name. From any thread."""

    def __init__(self, config: Config) -> None:
        self.configure(config.serve.archives)
        self._most_bytes = config.decode.max_file_bytes
        self._uploads = server_folder(config) / "uploads"

    def configure(self, rules: Rules) -> None:
        """From now on these folders, and so much room."""
        self._roots = [Path(folder).expanduser().absolute() for folder in rules.folders]
        self._room = rules.upload_bytes

    @property
    def roots(self) -> list[str]:
        """The folders of the configuration."""
        return [str(root) for root in self._roots]

    def checked(self, path: str) -> str:
        """The path as it is indexed, if it lies in one of the folders or is an upload. Raises Problem 403 and 404."""
        if "\0" in path:
            raise Problem(422, "invalid", "A path has no zero bytes.")
        real = Path(os.path.realpath(path))
        allowed = [Path(os.path.realpath(root)) for root in (*self._roots, self._uploads)]
        if not os.path.isabs(path) or not any(real.is_relative_to(root) for root in allowed):
            raise Problem(
                403,
                "not-an-archive",
                f"{path} is not below a folder that the configuration lists (serve.archives.folders).",
            )
        if not real.exists():
            raise Problem(404, "no-such-path", f"{path} is not there.")
        return str(real)

    def folder(self, path: str) -> Folder:
        """What lies in a folder. Raises Problem 403, 404, and 422 for what is no folder."""
        real = self.checked(path)
        try:
            with os.scandir(real) as entries:
                found = [entry for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False)]
        except OSError as error:
            raise Problem(422, "no-folder", f"{path}: {error.strerror or error}") from error
        shown = [entry for entry in found if not entry.name.startswith(".")]
        kinds = [kind_of(entry.path) for entry in shown]
        return Folder(
            path=real,
            folders=tuple(sorted(entry.name for entry in shown if entry.is_dir())),
            photos=kinds.count("photo"),
            videos=kinds.count("video"),
        )

    def begin(self) -> Upload:
        """A place for files that come one by one."""
        if not self._room:
            raise Problem(403, "no-uploads", "Uploads are switched off (serve.archives.upload_bytes).")
        name = secrets.token_hex(8)
        (self._uploads / name).mkdir(parents=True, mode=0o700)
        return self.upload(name)

    def upload(self, name: str) -> Upload:
        """What there is of one. Raises Problem 404."""
        folder = self._folder(name)
        files = [file for file in folder.glob("**/*") if file.is_file()]
        return Upload(id=name, path=str(folder), files=len(files), size=sum(file.stat().st_size for file in files))

    def listed(self) -> list[Upload]:
        """All of them, newest first."""
        there = [entry for entry in self._uploads.iterdir() if entry.is_dir()] if self._uploads.is_dir() else []
        there.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        return [self.upload(entry.name) for entry in there]

    def discard(self, name: str) -> None:
        """Delete the files of an upload; what the gallery has of them stays. Raises Problem 404."""
        shutil.rmtree(self._folder(name))

    async def receive(self, name: str, file: str, person: str | None, body: AsyncIterator[bytes]) -> None:
        """Keep one file of an upload, all of it or nothing; in the folder of `person` if that is given.

        Raises Problem 404 for an unknown upload, 413 for a file or uploads beyond the limits, 415 for what is neither photo
        nor video by its ending, 422 for names that are none.
        """
        folder = self._folder(name)
        if person is not None:
            folder = folder / _plain(person)
        target = folder / _plain(os.path.basename(file))
        if kind_of(target.name) is None:
            raise Problem(
                415, "neither-photo-nor-video", f"{target.name} is neither a photo nor a video by its ending."
            )
        room = self._room - sum(upload.size for upload in await anyio.to_thread.run_sync(self.listed))
        folder.mkdir(exist_ok=True, mode=0o700)
        partial = folder / f".{secrets.token_hex(8)}.part"
        try:
            came = 0
            async with await anyio.open_file(partial, "xb") as out:
                async for piece in body:
                    came += len(piece)
                    if came > min(room, self._most_bytes):
                        what = (
                            f"A file may have {self._most_bytes} bytes"
                            if came > self._most_bytes
                            else "The uploads are full"
                        )
                        raise Problem(
                            413, "too-large", f"{what}; `serve.archives` and `decode` of the configuration say so."
                        )
                    await out.write(piece)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)

    def _folder(self, name: str) -> Path:
        folder = self._uploads / name
        if len(name) != 16 or not all(letter in "0123456789abcdef" for letter in name) or not _is_folder(folder):
            raise Problem(404, "unknown-upload", f"There is no upload {name[:40]}.")
        return folder


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _plain(name: str) -> str:
    """A name as one part of a path. Raises Problem 422."""
    clean = name.strip()
    if (
        not clean
        or clean.startswith(".")
        or "/" in clean
        or not clean.isprintable()
        or len(clean.encode()) > _LONGEST_NAME
    ):
        raise Problem(
            422,
            "invalid",
            f"{name[:60]!r} is no name for a file: it has no slash, no dot at its beginning, no control characters.",
        )
    return clean
