"""Whose faces are made unrecognisable in pictures that are shown: `privacy` of the configuration, and hidden people."""

from __future__ import annotations

from vultus.configs.schema import Privacy
from vultus.index.names import clean_name


class Veil:
    """Decides for each face of a picture."""

    def __init__(self, privacy: Privacy) -> None:
        self._names = {clean_name(name) for name in privacy.veil}
        self._strangers = privacy.veil_strangers

    def over(self, name: str | None, *, hidden: bool = False) -> bool:
        """Whether to veil the face of the person of this name; none: of nobody who has a name."""
        return hidden or (self._strangers if name is None else name in self._names)
