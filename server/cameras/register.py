"""Cameras that the server knows: those of the configuration, which cannot be changed here, and its own.

Both have a row, so that a camera's number stays the same over restarts; the address of an own one is a secret of the vault.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from vultus.configs.address import redact
from vultus.configs.schema import Polygons, Source, View
from vultus.server.errors import VaultError
from vultus.server.problems import Problem
from vultus.server.store import Store
from vultus.server.vault import Vault

MOST = 1000
"""Own cameras."""


class Camera(Struct, frozen=True, kw_only=True):
    """One camera."""

    id: int
    name: str
    address: str
    """May hold a password. Empty if it cannot be read any more, as after `vultus secrets forget`."""
    view: View
    enabled: bool
    configured: bool
    """Stands in the configuration."""
    created: float

    @property
    def source(self) -> Source:
        """As work for the pipeline."""
        view = {name: getattr(self.view, name) for name in View.__struct_fields__}
        return Source(name=self.name, address=self.address, **view)

    @property
    def shown_address(self) -> str:
        """Without user and password."""
        return redact(self.address)

    def __repr__(self) -> str:
        return f"Camera({self.id}, {self.name!r}, {self.shown_address!r})"


class Draft(Struct, frozen=True, kw_only=True):
    """What is known of a camera before it has a number, or what is to be changed: none stays as it is."""

    name: str | None = None
    address: str | None = None
    transport: Literal["tcp", "udp"] | msgspec.UnsetType | None = msgspec.UNSET
    zones: Polygons | None = None
    masks: Polygons | None = None
    enabled: bool | None = None


class Register:
    """The table of cameras. For any thread."""

    def __init__(self, store: Store, vault: Vault, sources: Sequence[Source]) -> None:
        self._store, self._vault = store, vault
        self._configured = {source.label: source for source in sources}

    def configure(self, sources: Sequence[Source]) -> None:
        """From now on these are the cameras of the configuration."""
        self._configured = {source.label: source for source in sources}
        self.open()

    def open(self) -> None:
        """Give the configured cameras numbers, and forget those that are not configured any more."""
        with self._store.write() as connection:
            rows = dict(connection.execute("SELECT name, id FROM cameras WHERE configured = 1").fetchall())
            for name in rows.keys() - self._configured.keys():
                connection.execute("DELETE FROM cameras WHERE id = ?", (rows[name],))
            for name in self._configured.keys() - rows.keys():
                connection.execute(
                    "INSERT INTO cameras (name, configured, enabled, view, created) VALUES (?, 1, 1, '{}', ?)",
                    (name, time.time()),
                )

    def all(self, after: int = 0, limit: int = -1) -> list[Camera]:
        """In the order of their numbers, from behind `after` on."""
        with self._store.read() as connection:
            rows = connection.execute(f"{_SELECT} WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
        return [self._camera(row) for row in rows]

    def get(self, number: int) -> Camera:
        """Raises Problem 404."""
        with self._store.read() as connection:
            row = connection.execute(f"{_SELECT} WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise Problem(404, "unknown-camera", f"There is no camera {number}.")
        return self._camera(row)

    def add(self, draft: Draft) -> Camera:
        """One more; it needs a name and an address. Raises Problem 409 for a name that is taken."""
        assert draft.name is not None
        assert draft.address is not None
        view = _changed(View(), draft)
        with self._store.write() as connection:
            if connection.execute("SELECT count(*) FROM cameras WHERE configured = 0").fetchone()[0] >= MOST:
                raise Problem(409, "too-many-cameras", f"There are {MOST} cameras already.")
            self._check_name(connection, draft.name, None)
            number = connection.execute(
                "INSERT INTO cameras (name, configured, enabled, view, created) VALUES (?, 0, ?, ?, ?)",
                (draft.name, draft.enabled is not False, msgspec.json.encode(view).decode(), time.time()),
            ).lastrowid
            assert number is not None
            self._vault.keep(connection, _secret(number), draft.address)
        return self.get(number)

    def change(self, number: int, draft: Draft) -> Camera:
        """Raises Problem 404, and 409 for a configured camera and a name that is taken."""
        with self._store.write() as connection:
            camera = self._own(number)
            if draft.name is not None:
                self._check_name(connection, draft.name, number)
            connection.execute(
                "UPDATE cameras SET name = ?, enabled = ?, view = ? WHERE id = ?",
                (
                    camera.name if draft.name is None else draft.name,
                    camera.enabled if draft.enabled is None else draft.enabled,
                    msgspec.json.encode(_changed(camera.view, draft)).decode(),
                    number,
                ),
            )
            if draft.address is not None:
                self._vault.keep(connection, _secret(number), draft.address)
        return self.get(number)

    def remove(self, number: int) -> None:
        """Forget it; its sightings stay. Raises Problem 404, and 409 for a configured one."""
        with self._store.write() as connection:
            self._own(number)
            connection.execute("DELETE FROM cameras WHERE id = ?", (number,))
            self._vault.forget(connection, _secret(number))

    def _own(self, number: int) -> Camera:
        camera = self.get(number)
        if camera.configured:
            raise Problem(409, "configured-camera", f"{camera.name} stands in the configuration, and is changed there.")
        return camera

    def _check_name(self, connection: sqlite3.Connection, name: str, own: int | None) -> None:
        taken = connection.execute("SELECT 1 FROM cameras WHERE name = ? AND id IS NOT ?", (name, own)).fetchone()
        if taken is not None:
            raise Problem(409, "name-taken", f"There is a camera {name} already.")

    def _camera(self, row: tuple[int, str, int, int, str, float]) -> Camera:
        number, name, configured, enabled, view, created = row
        source = self._configured.get(name) if configured else None
        address = source.address if source is not None else ""
        return Camera(
            id=number,
            name=name,
            address=address if configured else self._address(number),
            view=msgspec.json.decode(view, type=View) if source is None else source.view,
            enabled=bool(enabled),
            configured=bool(configured),
            created=created,
        )

    def _address(self, number: int) -> str:
        try:
            return self._vault.reveal(_secret(number))
        except (KeyError, VaultError):
            return ""


_SELECT = "SELECT id, name, configured, enabled, view, created FROM cameras"


def _secret(number: int) -> str:
    return f"camera/{number}/address"


def _changed(view: View, draft: Draft) -> View:
    return View(
        transport=view.transport if draft.transport is msgspec.UNSET else draft.transport,
        zones=view.zones if draft.zones is None else draft.zones,
        masks=view.masks if draft.masks is None else draft.masks,
    )
