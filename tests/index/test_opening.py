import contextlib
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from vultus.index import (
    Gallery,
    GalleryClosed,
    GalleryCorrupt,
    GalleryNotFound,
    ModelMismatch,
    UnknownFormat,
)

STORED = Path(__file__).parent / "data"


def test_a_new_gallery_is_private_and_reopens(tmp_path, vectors):
    folder = tmp_path / "some" / "where" / "gallery"
    rows = vectors(3)
    with Gallery.open(folder) as gallery:
        ada = gallery.enrol("Ada", rows)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with Gallery.open(str(folder), create=False) as gallery:
        assert gallery.search(rows[:1], 1)[0][0].identity == ada
        assert gallery.path == folder


def test_a_missing_gallery_is_made_only_if_asked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no gallery at .* index some photos into it first") as caught:
        Gallery.open(tmp_path / "no", create=False)
    assert isinstance(caught.value, GalleryNotFound)
    assert not (tmp_path / "no").exists()
    with pytest.raises(GalleryNotFound, match="is empty"):
        Gallery.open(tmp_path, create=False)
    Gallery.open(tmp_path).close()


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def make_photos(folder):
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8")


def make_text(folder):
    (folder / "gallery.sqlite3").write_bytes(b"Dear diary, " * 1000)


def make_short_text(folder):
    (folder / "gallery.sqlite3").write_bytes(b"x")


def make_other_database(folder):
    with sqlite3.connect(folder / "gallery.sqlite3") as connection:
        connection.execute("CREATE TABLE faces (id INTEGER)")
    connection.close()


def make_other_empty_database(folder):
    with sqlite3.connect(folder / "gallery.sqlite3") as connection:
        connection.execute("PRAGMA application_id = 77")
    connection.close()


def make_newer(folder):
    Gallery.open(folder).close()
    with sqlite3.connect(folder / "gallery.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 5")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_photos, r"has no gallery.sqlite3, but other files \(holiday.jpg\); choose an empty or a new folder"),
        (make_text, "is not an SQLite database, so .* is no gallery; it was left alone"),
        (make_short_text, "is not an SQLite database"),
        (make_other_database, "SQLite database of another program"),
        (make_other_empty_database, "SQLite database of another program"),
        (make_newer, "has gallery format 5, this program reads up to 4: a newer vultus wrote it; upgrade"),
    ],
)
def test_what_is_no_gallery_is_refused_and_left_alone(tmp_path, make, words):
    make(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UnknownFormat, match=words) as caught:
        Gallery.open(tmp_path)
    assert isinstance(caught.value, ValueError)
    assert contents(tmp_path) == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "gallery"
    path.write_text("precious")
    with pytest.raises(UnknownFormat, match="is a file, but a gallery is a folder"):
        Gallery.open(path)
    assert path.read_text() == "precious"


def test_a_database_left_empty_by_a_killed_process_is_a_new_gallery(tmp_path, vectors):
    (tmp_path / "gallery.sqlite3").touch()
    with Gallery.open(tmp_path) as gallery:
        gallery.enrol("Ada", vectors(1))
        assert gallery.verify().ok


def test_a_damaged_database_is_an_error_not_an_answer(folder, vectors):
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", vectors(2000))
    with (folder / "gallery.sqlite3").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    with pytest.raises(GalleryCorrupt, match="restore a backup"), Gallery.open(folder) as gallery:
        gallery.search(vectors(1), 1)


def test_a_gallery_belongs_to_one_model(folder, vectors):
    with Gallery.open(folder) as gallery:
        assert gallery.model is None
        assert gallery.dim is None
        gallery.enrol("Ada", vectors(1, 8))
        assert gallery.dim == 8
        with pytest.raises(ValueError, match="vectors have 9 numbers each, but this gallery's have 8"):
            gallery.enrol("Ada", vectors(1, 9))
    with Gallery.open(folder, model="sface:0123") as gallery:
        assert gallery.model == "sface:0123"
    with pytest.raises(ModelMismatch, match=r"sface:0123, but arcface:4567 .* choose") as caught:
        Gallery.open(folder, model="arcface:4567")
    assert isinstance(caught.value, ValueError)
    with Gallery.open(folder) as gallery, Gallery.open(folder, "sface:0123") as same:
        assert gallery.model == same.model == "sface:0123"
    for name in ("", "a\nb", "x" * 201):
        with pytest.raises(ValueError, match="fingerprint"):
            Gallery.open(folder, model=name)


def test_a_closed_gallery_says_so(folder, vectors):
    gallery = Gallery.open(folder)
    gallery.enrol("Ada", vectors(1))
    gallery.close()
    gallery.close()
    for use in (gallery.identities, gallery.stats, gallery.verify, gallery.snapshot):
        with pytest.raises(GalleryClosed, match="is closed"):
            use()
    with pytest.raises(GalleryClosed):
        gallery.enrol("Ada", vectors(1))
    with pytest.raises(GalleryClosed):
        gallery.search(vectors(1), 1)


def test_format_1_as_it_was_stored(tmp_path):
    """The file was written by `data/make_v1.py`; every later version must read it."""
    folder = tmp_path / "v1"
    shutil.copytree(STORED / "v1", folder)
    probe = np.eye(8, dtype=np.float32)
    with Gallery.open(folder, model="model-of-v1", create=False) as gallery:
        assert [(person.id, person.name, person.faces) for person in gallery.identities()] == [
            (1, "Ada", 3),
            (3, "Zoë", 1),
        ]
        answers = gallery.search(probe[[0, 3, 5]], 2)
        assert [(m.name, m.face_id) for row in answers for m in row] == [
            ("Ada", 1),
            ("Zoë", 4),
            ("Zoë", 4),
            ("Ada", 3),
            (None, 5),
            ("Ada", 1),
        ]
        assert answers[0][0].similarity == pytest.approx(0.96, abs=1e-6)
        face = gallery.face(5)
        assert (face.source, face.time, face.box, face.track) == ("door", 1.7e9, (10.0, 20.0, 30.0, 40.0), 7)
        assert face.landmarks == ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0))
        assert face.chip == b"\xff\xd8\xff\xd9"
        assert gallery.file_state("/photos/1.jpg", 1000, 5) == "done"
        assert gallery.file_state("/photos/bad.jpg", 10, 6) == "refused"
        (sighting,) = gallery.sightings()
        assert (sighting.id, sighting.run, sighting.name, sighting.similarity) == (2, "run", "Zoë", 0.75)
        (old_snapshot,) = gallery.verify().problems
        assert "it has version 1, this program reads 2" in old_snapshot
        gallery.snapshot()
        assert gallery.verify().problems == ()
        assert gallery.enrol("New", probe[:1]) == 4


def test_a_crowd_of_readers_leaves_few_connections(gallery, vectors):
    gallery.enrol("Ada", vectors(1))
    with contextlib.ExitStack() as crowd:
        for _ in range(20):
            crowd.enter_context(gallery._store.read())
        assert gallery.identity("Ada").faces == 1
    assert 1 <= len(gallery._store._pool) <= 8
