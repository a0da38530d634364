"""What was deleted is gone from the files, not only from the answers."""

import logging
import sqlite3

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, Sighting

SOURCE = "/photos/Persephone-Nightingale/1.jpg"
CHIP = b"\xff\xd8" + b"unmistakable chip " * 300
NAME = "Persephone Nightingale"


def traces(folder, vectors):
    """Which files still hold something of her."""
    found = set()
    for path in folder.iterdir():
        data = path.read_bytes()
        wanted = {"name": NAME.encode(), "source": SOURCE.encode(), "chip": CHIP[:64], "chip end": CHIP[-64:]}
        wanted |= {f"vector {at}": row.tobytes() for at, row in enumerate(vectors)}
        found |= {(path.name, what) for what, needle in wanted.items() if needle in data}
    return found


@pytest.mark.parametrize("dim", [128, 4096])
def test_the_bytes_of_a_person_go(folder, vectors, dim):
    with Gallery.open(folder) as gallery, Gallery.open(folder) as reader:
        gallery.enrol_many([f"before {at}" for at in range(200)], vectors(200, dim))
        person = gallery.enrol(NAME, vectors(30, dim), [FaceRecord(source=SOURCE, chip=CHIP)] * 30)
        gallery.enrol_many([f"after {at}" for at in range(200)], vectors(200, dim))
        gallery.add_sighting(Sighting(run="r", source=SOURCE, track=1, time=1.0, identity=person))
        reader.search(vectors(1, dim), 1)
        stored = [gallery.face(face.id).vector for face in gallery.faces(person)]
        gallery.snapshot()
        assert len(traces(folder, stored)) > 33
        gallery.remove_identity(person)
        assert {name for name, _ in traces(folder, stored)} <= {"faces.snapshot"}
        gallery.snapshot()
        assert traces(folder, stored) == set()
        assert gallery.verify().ok


def test_closing_takes_deleted_faces_out_of_the_snapshot(folder, vectors):
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(vectors(3))
        stored = [gallery.face(face).vector for face in faces]
        gallery.snapshot()
    with Gallery.open(folder) as gallery:
        gallery.remove_faces(faces[1:2])
    assert {what for _, what in traces(folder, stored)} == {"vector 0", "vector 2"}


def test_a_reader_in_the_way_delays_it_to_the_next_write(folder, vectors):
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(vectors(3))
        stored = np.stack([gallery.face(face).vector for face in faces])
        with gallery._store.read() as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM faces").fetchone()
            gallery.remove_faces(faces[:1])
            assert traces(folder, stored[:1])
        gallery.rename(gallery.enrol("A", vectors(1)), "B")
        assert traces(folder, stored[:1]) == set()


@pytest.mark.parametrize("how", ["forget_acts", "remove"])
def test_a_replaced_name_goes_with_the_memory_of_the_act_or_with_the_person(folder, vectors, how):
    with Gallery.open(folder) as gallery:
        gallery.rename(gallery.enrol(NAME, vectors(1)), "X")
        if how == "remove":
            gallery.remove_identity("X")
        else:
            gallery.forget_acts()
            assert gallery.acts() == []
    assert traces(folder, []) == set()


class FailingLog:
    """The connection of a disk that fails when the log is emptied."""

    def __init__(self, connection):
        self.connection = connection

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, statement, *values):
        if "wal_checkpoint" in statement:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return self.connection.execute(statement, *values)


def test_a_log_that_cannot_be_emptied_undoes_no_deletion(folder, vectors, caplog):
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(vectors(3))
        stored = np.stack([gallery.face(face).vector for face in faces])
        sound = gallery._store._writing
        gallery._store._writing = FailingLog(sound)
        with caplog.at_level(logging.WARNING, "vultus.index"):
            gallery.remove_faces(faces[:1])
        assert "disk I/O error" in caplog.text
        assert gallery.stats().faces == 2
        assert traces(folder, stored[:1])
        gallery._store._writing = sound
        gallery.enrol("A", vectors(1))
        assert traces(folder, stored[:1]) == set()
