"""The gallery that the configuration names, opened as it says: how every command and every stage gets at it."""

from __future__ import annotations

from msgspec.structs import replace

from vultus.configs.loader import gallery_key, gallery_place
from vultus.configs.schema import Config
from vultus.index.gallery import Gallery


def open_gallery(config: Config, model: str | None = None, *, create: bool = False, server: bool = False) -> Gallery:
    """The configured gallery; one that is not there is made with `create` only. Raises what `Gallery.open` does.

    `server` says that it is opened for many users, by whom `Gallery.audit.acting` says who each is: unless the
    configuration has `audit.enabled: false`, searches and who made a change are recorded.
    """
    place, key, audit = gallery_place(config), gallery_key(config), config.audit
    if server and audit.enabled is None:
        audit = replace(audit, enabled=True)
    return Gallery.open(place, model=model, create=create, audit=audit, key=key)
