"""What only a server can do to a gallery: refuse, vanish, come back; and what stays secret of its address."""

import os
import subprocess
import sys

import numpy as np
import pytest
from postgres_fixtures import ENCODED, PASSWORD

from vultus.configs import DatabaseUrl
from vultus.index import (
    AccessDenied,
    Gallery,
    GalleryClosed,
    GalleryNotFound,
    GalleryUnreachable,
    NotInDatabase,
    StorageError,
    UnknownFormat,
    UnknownKind,
)
from vultus.index.database_url import parsed


def chain(error):
    """All that a traceback of an error would show."""
    while error is not None:
        yield f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_a_wrong_password_is_refused_and_never_shown(postgres):
    with pytest.raises(AccessDenied, match="refused user or password") as caught:
        Gallery.open(postgres.url("any", "not-the-one"))
    assert isinstance(caught.value, PermissionError)
    assert not any("not-the-one" in text for text in chain(caught.value))
    with Gallery.open(postgres.url("secret_test")) as gallery:
        shown = f"{gallery.path} {gallery.path!r} {gallery.stats()}"
    assert not any(secret in shown + postgres.log() for secret in (PASSWORD, ENCODED))


def test_no_server_and_no_database(postgres):
    with pytest.raises(GalleryUnreachable, match="cannot be reached") as caught:
        Gallery.open("postgresql://vultus:secret@127.0.0.1:1/faces")
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value, StorageError)
    with pytest.raises(GalleryNotFound, match="there is no such database"):
        Gallery.open(postgres.url("x").replace("/postgres?", "/nothing?"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@host",
        "postgresql://u:se/cret@host/db",
        "postgresql://u:secret@host:a/db",
        "postgresql://host/a/b",
        "postgresql://host/db?schema=No",
        "postgresql://host/db?x=1",
        "postgresql://host/db#part",
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match="postgresql://") as caught:
        parsed(DatabaseUrl(address))
    assert not any("cret" in text for text in chain(caught.value))


def test_the_parts_of_an_address():
    options, schema = parsed(DatabaseUrl("postgresql://me:a%40b%2F@[::1]:6543/faces?sslmode=require&schema=two"))
    assert options == {
        "host": "::1",
        "port": "6543",
        "user": "me",
        "password": "a@b/",
        "dbname": "faces",
        "sslmode": "require",
    }
    assert schema == "two"
    assert parsed(DatabaseUrl("postgres:///faces?host=/run/x")) == ({"dbname": "faces", "host": "/run/x"}, "vultus")


@pytest.mark.slow
def test_a_server_that_went_away_and_came_back(postgres, database):
    with Gallery.open(database()) as gallery:
        gallery.enrol("Ada", np.eye(3)[:1])
        assert gallery.search(np.eye(3), 1)[0][0].name == "Ada"
        postgres.stop()
        try:
            for call in (lambda: gallery.search(np.eye(3), 1), lambda: gallery.enrol("Bob", np.eye(3)[1:2])):
                with pytest.raises(GalleryUnreachable):
                    call()
        finally:
            postgres.start()
        assert gallery.search(np.eye(3), 1)[0][0].name == "Ada"
        gallery.enrol("Bob", np.eye(3)[1:2])
        assert [one.name for one in gallery.identities()] == ["Ada", "Bob"]


def test_a_server_that_goes_away_in_a_write(postgres, database):
    with Gallery.open(database()) as gallery:
        gallery.enrol("Ada", np.eye(3)[:1])

        def broken_off():
            with gallery._store.write() as connection:
                connection.execute("UPDATE identities SET name = ?", ("Eve",))
                postgres.stop()
                connection.execute("SELECT 1")

        try:
            with pytest.raises(GalleryUnreachable):
                broken_off()
        finally:
            postgres.start()
        assert [one.name for one in gallery.identities()] == ["Ada"]


def test_a_fork_must_open_the_gallery_again(database):
    with Gallery.open(database()) as gallery:
        gallery.enrol("Ada", np.eye(3)[:1])
        child = os.fork()
        if not child:
            code = 1
            try:
                gallery.search(np.eye(3), 1)
            except GalleryClosed:
                code = 0
            gallery.close()
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert gallery.search(np.eye(3), 1)[0][0].name == "Ada"


def test_other_tables_are_left_alone(postgres, database):
    with Gallery.open(database()) as gallery, gallery._store.write() as connection:
        connection.execute("CREATE SCHEMA foreign_tables")
        connection.execute("CREATE TABLE foreign_tables.files (id INTEGER)")
    with pytest.raises(UnknownFormat, match="holds other tables"):
        Gallery.open(postgres.url("foreign_tables"))


def test_what_a_database_does_by_its_own_means(database):
    with Gallery.open(database()) as gallery:
        gallery.enrol("Ada", np.eye(3)[:1])
        with pytest.raises(NotInDatabase, match="has no key"):
            gallery.set_key(bytes(32))
        with pytest.raises(UnknownKind, match="auto, flat, hnsw"):
            gallery.convert("sq8")
        gallery.snapshot()
    with pytest.raises(NotInDatabase, match="has no key"):
        Gallery.open(database(), key=bytes(32))


def test_without_the_driver_the_extra_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from vultus.index import Gallery, GalleryError\n"
        "try: Gallery.open('postgresql://u:secret@host/db')\n"
        "except GalleryError as error: print(type(error).__name__, isinstance(error, ImportError), error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("DriverMissing True ")
    assert "pip install 'vultus[postgres]'" in said
    assert "secret" not in said
