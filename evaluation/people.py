"""Photographs of people with names: a folder for each, or a list."""

from __future__ import annotations

from pathlib import Path

from vultus.evaluation.errors import BadList
from vultus.evaluation.lists import lines_of

_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic"})


def read(path: Path) -> list[tuple[str, Path]]:
    """Names and photographs, in order.

    A folder holds one for each person with the photographs in it; a file has lines of a name, a tab and a path, which counts
    from where the file is. Raises BadList (a ValueError) with the line that is wrong, or if there is nobody.
    """
    found = _listed(path) if path.is_file() else _folders(path)
    if not found:
        wanted = "a folder has one for each person in it" if path.is_dir() else "lines are a name, a tab and a path"
        raise BadList(f"{path}: no photographs; {wanted}")
    return found


def _folders(path: Path) -> list[tuple[str, Path]]:
    return [
        (folder.name, photo)
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for photo in sorted(folder.iterdir())
        if photo.suffix.lower() in _ENDINGS and photo.is_file()
    ]


def _listed(path: Path) -> list[tuple[str, Path]]:
    found = []
    for number, line in enumerate(lines_of(path, "photographs"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, tab, photo = line.partition("\t")
        if not tab or not name.strip() or not photo.strip() or "\0" in photo:
            raise BadList(f"{path}, line {number}: not a name, a tab and a path")
        found.append((name.strip(), path.parent / photo.strip()))
    return found
