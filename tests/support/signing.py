"""Users of a server under test, and clients that are signed in as one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from vultus.server import passwords
from vultus.server.roles import AREAS, ROLES
from vultus.server.services import Services

PASSWORD = "seven quiet herons wade"
"""Of all users."""


@contextmanager
def cheap_hashes() -> Iterator[None]:
    """Hashes that take no time; what they cost otherwise is tested by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "PASSWORDS", passwords.Cost(16, 1, 1))
        patch.setattr(passwords, "KEYS", passwords.Cost(16, 1, 1))
        yield


def add_users(services: Services) -> None:
    """One of each role, called like it."""
    for role in reversed(ROLES):
        services.accounts.users.add(role, role, PASSWORD)


@contextmanager
def signed_in(address: str, name: str, password: str = PASSWORD, **settings: Any) -> Iterator[httpx.Client]:
    """A client with the cookie and the CSRF header of that user."""
    with httpx.Client(base_url=address, timeout=30, **settings) as client:
        answer = client.post("/api/v1/session", json={"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        yield client


def key_client(services: Services, address: str, role: Any, areas: Any = AREAS, name: str = "program") -> httpx.Client:
    """A client with a new API key."""
    _, text = services.accounts.keys.make(name, role, areas, "test")
    return httpx.Client(base_url=address, timeout=30, headers={"Authorization": f"Bearer {text}"})
