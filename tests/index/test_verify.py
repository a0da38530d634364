"""Each thing that verify looks at is broken on purpose."""

import re

import numpy as np
import pytest

from vultus.index import Gallery, GalleryCorrupt


@pytest.fixture
def full(folder, vectors):
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at % 9}" for at in range(50)], vectors(50))
        gallery.add_faces(vectors(50))
        yield gallery
        gallery.close(snapshot=False)


def meddle(gallery, statement, *values):
    connection = gallery._store._writing
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(statement, values)
    connection.execute("PRAGMA foreign_keys = ON")


def test_all_is_well(full):
    report = full.verify()
    assert report.ok
    assert (report.faces, report.problems) == (100, ())
    full.snapshot()
    full.search(np.ones((1, 16)), 1)
    assert full.verify().ok


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"\0" * 64, "face 7: its vector has 64 bytes and the length 0, not 64 bytes"),
        (np.full(16, np.nan, "<f4").tobytes(), "face 7: .* length nan"),
        (np.full(16, 0.3, "<f4").tobytes(), "face 7: .* length 1.2"),
        (b"short", "face 7: its vector has 5 bytes"),
        (b"x" * 640, "face 7: its vector has 640 bytes"),
    ],
)
def test_a_bad_vector_is_found_and_never_searched(full, vectors, blob, words):
    meddle(full, "UPDATE vectors SET vector = ? WHERE face = 7", blob)
    with pytest.raises(GalleryCorrupt, match="the vector of face 7 is damaged"):
        full.search(vectors(1), 1)
    damaged, detail = full.verify().problems
    assert "the vector of face 7 is damaged" in damaged
    assert re.search(words, detail)
    full.remove_faces([7])
    assert full.verify().ok


def test_a_missing_vector_is_found(full):
    meddle(full, "DELETE FROM vectors WHERE face = 7")
    assert full.verify().problems == ("face 7 has no vector",)


def test_a_reference_to_nothing_is_found(full):
    meddle(full, "UPDATE faces SET identity = 99 WHERE id = 7")
    assert full.verify().problems == ("database: row 7 of faces refers to a row of identities that is not there",)


def test_an_index_that_went_astray_is_found(full, vectors):
    full.search(vectors(1), 1)
    full._backend.live._index.people[3] += 1
    (problem,) = full.verify().problems
    assert "the index in memory differs from the database" in problem


def test_a_change_past_the_journal_is_found(full, vectors):
    full.search(vectors(1), 1)
    meddle(full, "DELETE FROM faces WHERE id = 8")
    meddle(full, "DELETE FROM vectors WHERE face = 8")
    changed, counted = full.verify().problems
    assert "the index in memory differs from the database" in changed
    assert "is said to have 5 faces, but has 4" in counted


def test_damaged_pages_are_found(folder, vectors):
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(3000)], vectors(3000))
        gallery.close(snapshot=False)
    path = folder / "gallery.sqlite3"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 3 * 8192)
        file.write(b"\xa5" * 8192)
    with Gallery.open(folder) as gallery:
        assert any(problem.startswith("database: ") for problem in gallery.verify().problems)
        gallery.close(snapshot=False)
