"""A server that runs in the test's own process, on a free port of the loopback."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vultus.configs.loader import load
from vultus.configs.schema import Config
from vultus.server.services import Services
from vultus.server.serving import Server, bound


def configured(folder: Path, gallery: Path, overrides: dict[str, Any] | None = None) -> Config:
    """A configuration whose gallery is a copy of `gallery`, so that a test may change it."""
    shutil.copytree(gallery, folder / "gallery")
    own = {"gallery": str(folder / "gallery"), "serve.folder": str(folder / "server"), "serve.listen": "127.0.0.1:0"}
    return load(None, own | (overrides or {}))


@contextmanager
def serving(services: Services) -> Iterator[str]:
    """The address of a server over open services, which runs in a thread while inside."""
    with bound(services.config) as listening:
        server = Server(services)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
