"""Reading the configuration again while the server runs: cameras and archives change at once, the rest at the next start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import fields, replace

from vultus.configs.errors import ConfigError
from vultus.configs.schema import Config
from vultus.server.archives import Archives
from vultus.server.cameras.register import Register
from vultus.server.cameras.watching import Watching

_log = logging.getLogger("vultus.server")


class Reloaded(Struct, frozen=True, kw_only=True):
    """What was different, by keys of the configuration."""

    changed: tuple[str, ...]
    """In force from now on."""
    restart: tuple[str, ...]
    """In force after a restart."""


class Reloading:
    """For any thread, one reading after the other."""

    def __init__(self, config: Config, read: Callable[[], Config] | None) -> None:
        """`read` gives the configuration as it is now, or raises ConfigError; none if there is no file."""
        self._config, self._read = config, read
        self._lock = threading.Lock()

    def reload(self, cameras: Register, watching: Watching, archives: Archives) -> Reloaded:
        """Take over what can be. Raises ConfigError (a ValueError); nothing has changed then."""
        if self._read is None:
            raise ConfigError(
                "the server was started without a configuration file (--config), so there is none to read"
            )
        with self._lock:
            config = self._read()
            changed, restart = _differences(self._config, config)
            if "sources" in changed:
                cameras.configure(config.sources)
                watching.refresh()
            if "serve.archives" in changed:
                archives.configure(config.serve.archives)
            # What waits for a restart is still another than what is in force, and is said again at the next reading.
            now = replace(self._config.serve, archives=config.serve.archives)
            self._config = replace(self._config, sources=config.sources, serve=now)
        _log.info("configuration read again: changed %s; at the next start %s", list(changed), list(restart))
        return Reloaded(changed=changed, restart=restart)


def _differences(before: Config, after: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys that differ: those that can change at once, and the others."""
    at_once = ("sources", "serve.archives")
    top = [field.name for field in fields(Config) if field.name != "serve"]
    inner = [field.name for field in fields(type(before.serve))]
    differ = [name for name in top if getattr(before, name) != getattr(after, name)]
    differ += [f"serve.{name}" for name in inner if getattr(before.serve, name) != getattr(after.serve, name)]
    return tuple(key for key in differ if key in at_once), tuple(key for key in differ if key not in at_once)
