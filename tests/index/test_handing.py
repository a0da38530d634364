"""Vectors that go from a commit to the index without the database."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, loading, people
from vultus.index.embedding import normalised
from vultus.index.handing import Handing
from vultus.index.store import DATABASE


@pytest.fixture
def unread(monkeypatch):
    """The ranges of faces that a search has read vectors of."""
    ranges = []

    def read(connection, dim, first, last, original=loading.faces_between):
        ranges.append((first, last))
        return original(connection, dim, first, last)

    monkeypatch.setattr(loading, "faces_between", read)
    return ranges


def best(gallery, probe):
    return [(match.name, match.face_id) for match in gallery.search(probe, 9)[0]]


def test_only_what_is_wanted_is_kept_and_not_for_ever():
    handing, rows = Handing(), np.zeros((1024, 1024), np.float32)
    handing.put({1: rows})
    assert handing.take(1) is None
    handing.wanted = True
    for mark in range(6):
        handing.put({mark: rows})
    assert [handing.take(mark) is rows for mark in range(6)] == [False, False, True, True, True, True]
    assert handing.take(5) is None
    handing.put({7: np.zeros((5000, 1024), np.float32)})
    assert handing.take(7) is None


def test_a_search_does_not_read_what_its_process_added(gallery, vectors, unread):
    rows = vectors(40)
    gallery.enrol("Ada", rows[:5])
    assert best(gallery, rows[:1])[0] == ("Ada", 1)
    unread.clear()
    for start in range(5, 40, 5):
        gallery.enrol_many([f"{row}" for row in range(start, start + 5)], rows[start : start + 5])
    gallery.add_faces(rows[:1] + rows[1:2])
    assert [best(gallery, row[None])[0] for row in rows[5:]] == [(f"{at}", at + 1) for at in range(5, 40)]
    assert unread == []
    assert gallery.verify().ok


def test_faces_are_as_they_are_now(gallery, vectors, unread):
    rows = vectors(9)
    gallery.enrol("Ada", rows[:2])
    best(gallery, rows[:1])
    unread.clear()
    gallery.enrol_many(["Bob", "Cleo", "Bob", "Dan"], rows[2:6])
    gallery.add_faces(rows[6:])
    gallery.remove_faces([4, 8])
    gallery.rename("Dan", "Daniel")
    gallery.merge("Bob", "Ada")
    names = {1: "Bob", 2: "Bob", 3: "Bob", 5: "Bob", 6: "Daniel", 7: None, 9: None}
    assert {best(gallery, rows[face - 1 : face])[0] for face in names} == {(name, face) for face, name in names.items()}
    assert unread == []
    assert gallery.verify().ok


def test_what_others_add_in_between_is_read(gallery, folder, vectors, unread):
    rows = vectors(30)
    gallery.enrol("Ada", rows[:3])
    best(gallery, rows[:1])
    unread.clear()
    with Gallery.open(folder) as other:
        for start in range(3, 30, 3):
            (other if start in (3, 12, 15, 27) else gallery).add_faces(rows[start : start + 3])
    assert [best(gallery, row[None])[0][1] for row in rows] == list(range(1, 31))
    assert unread == [(4, 6), (13, 18), (28, 30)]
    assert gallery.verify().ok


def test_what_was_not_committed_is_never_found(gallery, vectors):
    rows = vectors(6)
    gallery.enrol("Ada", rows[:1])
    best(gallery, rows[:1])
    store, strange = gallery._store, normalised(rows[1:3], None)

    def fail():
        with store.write() as connection:
            people.add_faces(connection, store.writer, strange, [FaceRecord()] * 2, [None] * 2)
            store.handing.put(connection.handed)
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        fail()
    gallery.enrol("Cleo", rows[3:5])  # with the numbers that those faces would have had
    assert best(gallery, rows[3:4])[0] == ("Cleo", 2)
    assert gallery.verify().ok


def test_the_same_numbers_in_another_history_are_others(gallery, folder, vectors):
    rows = vectors(3)
    gallery.enrol("Ada", rows[:1])
    best(gallery, rows[:1])
    gallery.enrol("Bob", rows[1:])
    with closing(sqlite3.connect(folder / DATABASE)) as database:  # as after a backup was put back
        database.execute("UPDATE changes SET mark = mark + 1 WHERE seq = (SELECT max(seq) FROM changes)")
        database.execute("UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE face = 1) WHERE face = 2")
        database.commit()
    assert [match.similarity for match in gallery.search(rows[:1], 2)[0]] == pytest.approx([1.0, 1.0])
    assert gallery.verify().ok
