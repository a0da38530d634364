"""Typed configuration: schema, loader, default file and example profiles."""

from vultus.configs.address import DatabaseUrl, Place, redact, redact_text
from vultus.configs.errors import ConfigError
from vultus.configs.loader import data_folder, dump, gallery_place, load, shipped
from vultus.configs.schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "DatabaseUrl",
    "Place",
    "data_folder",
    "dump",
    "gallery_place",
    "load",
    "redact",
    "redact_text",
    "shipped",
]
