"""Galleries of older formats, as they were stored, become ones of this format and lose nothing."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from vultus.configs import DatabaseUrl
from vultus.index import FaceRecord, Gallery, Shot, Sighting, schema

STORED = Path(__file__).parent / "data"
FOURTH_UNDONE = (
    "ALTER TABLE identities DROP COLUMN folded, DROP COLUMN faces",
    "ALTER TABLE changes DROP COLUMN actor, DROP COLUMN via",
    "ALTER TABLE audit DROP COLUMN via",
    "DROP INDEX people_by_number, changes_by_time, faces_by_quality, sightings_of_nobody, sightings_by_source",
)
THIRD_UNDONE = ("DROP TABLE shots", "DROP INDEX sightings_by_time")


@pytest.mark.parametrize("version", [2, 3])
def test_format_3_as_it_was_stored(tmp_path, version):
    """The file was written by `data/make_v3.py`; every later version must read it."""
    folder = tmp_path / "old"
    shutil.copytree(STORED / "v3", folder)
    if version == 2:
        with sqlite3.connect(folder / "gallery.sqlite3") as database:
            database.executescript(";".join((*THIRD_UNDONE, "PRAGMA user_version = 2")))
        database.close()
    with Gallery.open(folder, model="model-of-v3", create=False) as gallery:
        people = gallery.identities(hidden=None)
        assert [(one.name, one.faces, one.hidden) for one in people] == [("Zoë", 1, True), ("ada", 4, False)]
        assert [one.faces for one in gallery.unknowns.people()] == [2]
        entries = [(one.actor, one.operation, one.program[:7]) for one in gallery.audit.entries()]
        assert entries[:3] == [(None, "created", "process"), (None, "added", "process"), ("maker", "added", "process")]
        assert entries[-2:] == [("eve", "search", "process"), ("eve", "hidden", "process")]
        assert [(one.track, one.name) for one in gallery.sightings()] == [(0, None), (1, "Zoë"), (2, None)]
        assert len(gallery.shots(1)) == (1 if version == 3 else 0)
        gallery.undo(2)
        assert [(one.name, one.faces) for one in gallery.identities()] == [("Bob", 1), ("Zoë", 1), ("ada", 3)]
        assert gallery.search(np.eye(8)[:1], 1)[0][0].name == "ada"
        assert gallery.verify().problems == ()
        assert layout(gallery) == fresh(tmp_path)


def layout(gallery):
    with gallery._store.read() as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        columns = {name: [row[1:] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in tables}
        indices = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name"
        ).fetchall()
    return columns, indices


def fresh(tmp_path):
    with Gallery.open(tmp_path / "fresh") as gallery:
        return layout(gallery)


@pytest.mark.parametrize("version", [2, 3])
def test_older_formats_in_a_database(database, version):
    from vultus.index.postgres import PostgresStore

    place = database()
    with Gallery.open(place) as gallery:
        ada = gallery.enrol("Adá", np.eye(3)[:2], [FaceRecord(quality=0.5), FaceRecord()])
    store = PostgresStore.open(DatabaseUrl(place), create=False, busy_timeout=1)
    with store.write() as connection:
        connection.execute("UPDATE changes SET writer = 'maker, ' || writer")
        for statement in (*FOURTH_UNDONE, *(THIRD_UNDONE if version == 2 else ())):
            connection.execute(statement)
        connection.execute("UPDATE gallery SET format = ?", (version,))
    store.close()
    with Gallery.open(place) as gallery:
        assert [(one.name, one.faces) for one in gallery.identities()] == [("Adá", 2)]
        with gallery._store.read() as connection:
            assert connection.execute("SELECT folded FROM identities").fetchall() == [("ada",)]
        assert {entry.actor for entry in gallery.audit.entries()} == {"maker"}
        number = gallery.add_sighting(
            Sighting(run="r", source="door", track=1, time=1.0, identity=ada), [Shot(jpeg=b"x", time=1.0)]
        )
        assert len(gallery.shots(number)) == 1
        assert gallery.verify().ok
    assert schema.FORMAT == 4
