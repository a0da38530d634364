"""A server that answers on a free port of the loopback, over a gallery of four named people."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

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


@pytest.fixture(scope="module")
def services(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Open services, for the tests of one module."""
    with Services(configured(tmp_path_factory.mktemp("served"), gallery)) as services:
        yield services


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    """Where a server over them answers."""
    with serving(services) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def photo(samples: tuple[Path, Any]) -> bytes:
    """The second photograph of person a, who is in the gallery by the first."""
    return (samples[0] / "person_a_2.jpg").read_bytes()


@pytest.fixture(scope="session")
def group(samples: tuple[Path, Any]) -> bytes:
    """A photograph of six people, whose faces are in the gallery and have no names."""
    return (samples[0] / "t1.jpg").read_bytes()
