"""The gallery that the configuration names, opened as it says: how every command and every stage gets at it."""

from __future__ import annotations

from vultus.configs.loader import gallery_key, gallery_place
from vultus.configs.schema import Config
from vultus.index.gallery import Gallery


def open_gallery(config: Config, model: str | None = None, *, create: bool = False) -> Gallery:
    """The configured gallery; one that is not there is made with `create` only. Raises what `Gallery.open` does."""
    place, key = gallery_place(config), gallery_key(config)
    return Gallery.open(place, model=model, create=create, audit=config.audit, key=key)
