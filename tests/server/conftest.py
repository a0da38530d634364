"""A server that answers on a free port of the loopback, over a gallery of four named people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import configured, serving

from vultus.server.services import Services


@pytest.fixture(scope="session")
def gallery(indexed: Path) -> Path:
    """What is served is a copy of a gallery in which nobody was seen yet."""
    return indexed


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
def group(samples: tuple[Path, Any]) -> bytes:
    """A photograph of six people, whose faces are in the gallery and have no names."""
    return (samples[0] / "t1.jpg").read_bytes()
