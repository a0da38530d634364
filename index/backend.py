"""From the place of a gallery to what keeps it there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vultus.configs import DatabaseUrl
from vultus.index import care
from vultus.index.contract import Backend
from vultus.index.embedded import Embedded
from vultus.index.errors import DriverMissing, NotInDatabase
from vultus.index.store import Store


def open_backend(
    place: str | os.PathLike[str] | DatabaseUrl, *, create: bool, busy_timeout: float, key: bytes | None = None
) -> Backend:
    """Open the gallery of a folder or, given an address that begins with `postgresql://`, of a database."""
    if isinstance(place, str) and DatabaseUrl.matches(place):
        place = DatabaseUrl(place)
    if not isinstance(place, DatabaseUrl):
        return Embedded(Store.open(Path(place).absolute(), create=create, busy_timeout=busy_timeout, key=key))
    with _driver_needed(place):
        from vultus.index.postgres import PostgresStore
        from vultus.index.remote import NO_KEY, Remote
    if key is not None:
        raise NotInDatabase(NO_KEY.format(place=place))
    return Remote(PostgresStore.open(place, create=create, busy_timeout=busy_timeout))


def restore(backup: Path, place: str | os.PathLike[str] | DatabaseUrl) -> None:
    """Make a gallery of a backup in a folder or, given an address, in a database, where there is none yet."""
    if isinstance(place, str) and DatabaseUrl.matches(place):
        place = DatabaseUrl(place)
    if not isinstance(place, DatabaseUrl):
        care.restore(backup, Path(place).absolute())
        return
    with _driver_needed(place):
        from vultus.index import remote
        from vultus.index.postgres import PostgresStore
    care.check(backup)  # before tables are made
    store = PostgresStore.open(place, create=True, busy_timeout=10.0)
    try:
        remote.restore(backup, store)
    finally:
        store.close()


@contextlib.contextmanager
def _driver_needed(place: DatabaseUrl) -> Iterator[None]:
    """Say what to install where the driver is missing."""
    try:
        yield
    except ImportError as error:
        if error.name is not None and not error.name.startswith("psycopg"):
            raise
        raise DriverMissing(
            f"{place}: galleries in PostgreSQL need a driver that is not installed ({error}): "
            "pip install 'vultus[postgres]'"
        ) from error
