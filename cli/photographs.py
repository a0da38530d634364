"""Which photographs a command line means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vultus.stages.sources import Unusable, find


def photographs(images: Iterable[Path]) -> Iterator[Path | Unusable]:
    """The photographs that are meant, each once: files as they were named, whatever their ending, and those in folders."""
    seen = set[str]()
    for image in images:
        inside = find([os.path.abspath(image)]) if image.is_dir() else None
        for found in [None] if inside is None else inside:
            if isinstance(found, Unusable):
                yield found
                continue
            path = image if found is None else Path(found.address)
            if (found is None or found.kind == "photo") and os.path.abspath(path) not in seen:
                seen.add(os.path.abspath(path))
                yield path
