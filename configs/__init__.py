"""Typed configuration: schema, loader, default file and example profiles."""

from vultus.configs.address import redact, redact_text
from vultus.configs.errors import ConfigError
from vultus.configs.loader import data_folder, dump, gallery_folder, load, shipped
from vultus.configs.schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "data_folder",
    "dump",
    "gallery_folder",
    "load",
    "redact",
    "redact_text",
    "shipped",
]
