"""An encrypted gallery answers the same, shows nothing on the disk, and opens with its key alone."""

import secrets
import shutil
import signal
import sqlite3
import time

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, GalleryCorrupt, WrongKey

KEY, OTHER = secrets.token_bytes(32), secrets.token_bytes(32)
CHIP = b"\xff\xd8" + b"unmistakable chip " * 50


def found(gallery, probes):
    return [[(m.identity, m.face_id, m.similarity) for m in row] for row in gallery.search(probes, 5)]


def traces(folder, vectors):
    """Names of files that hold a vector or a picture."""
    needles = [b"unmistakable", *(row.tobytes() for row in vectors)]
    return {path.name for path in folder.iterdir() if any(needle in path.read_bytes() for needle in needles)}


@pytest.fixture
def filled(folder, vectors):
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(300)], vectors(300))
        gallery.enrol("Ada", vectors(5), [FaceRecord(chip=CHIP)] * 5)
        gallery.snapshot()
    return folder


@pytest.fixture
def stored(filled):
    with Gallery.open(filled) as gallery:
        return [gallery.face(face.id).vector for face in gallery.faces("Ada")]


def test_nothing_is_to_be_read_and_everything_is_found(filled, stored, vectors, tmp_path):
    probes = vectors(3)
    with Gallery.open(filled) as gallery:
        expected = found(gallery, probes)
        assert traces(filled, stored) == {"gallery.sqlite3", "faces.snapshot"}
        assert not gallery.stats().encrypted
        gallery.set_key(KEY)
        assert traces(filled, stored) == set()
        assert found(gallery, probes) == expected
        assert gallery.stats().encrypted
        gallery.backup(tmp_path / "backup")
    Gallery.restore(tmp_path / "backup", tmp_path / "restored")
    for folder in (filled, tmp_path / "restored"):
        with Gallery.open(folder, key=KEY) as gallery:
            assert found(gallery, probes) == expected
            assert gallery._backend.live.origin == ("snapshot" if folder == filled else "database")
            assert gallery.face(gallery.faces("Ada")[0].id).chip == CHIP
            gallery.enrol("Bob", stored[:2], [FaceRecord(chip=CHIP)] * 2)
            gallery.snapshot()
            assert traces(folder, stored) == set()
            assert gallery.verify().problems == ()
            gallery.export("Ada", tmp_path / f"{folder.name}.zip")
            gallery.set_key(None)
            assert traces(folder, stored) == {"gallery.sqlite3", "faces.snapshot"}
        with Gallery.open(folder) as gallery:
            assert gallery.verify().problems == ()
            assert {match.name for match in gallery.search(stored[:1], 2)[0]} == {"Ada", "Bob"}


def test_a_gallery_that_is_made_with_a_key(folder, vectors):
    with Gallery.open(folder, key=KEY) as gallery:
        rows = vectors(3)
        gallery.enrol("Ada", rows, [FaceRecord(chip=CHIP)] * 3)
        stored = [gallery.face(face.id).vector for face in gallery.faces("Ada")]
        gallery.snapshot()
        assert traces(folder, stored) == set()
        assert gallery.search(rows[:1], 1)[0][0].name == "Ada"


def test_the_wrong_key_or_none_is_refused_at_once(filled):
    with pytest.raises(WrongKey, match="is not encrypted, but a key was given; `vultus gallery encrypt`"):
        Gallery.open(filled, key=KEY)
    with Gallery.open(filled) as gallery:
        with pytest.raises(ValueError, match="a key has 32 bytes"):
            gallery.set_key(b"short")
        gallery.set_key(KEY)
    with pytest.raises(WrongKey, match=r"is encrypted and needs its key: store\.key_file, or VULTUS_GALLERY_KEY"):
        Gallery.open(filled)
    with pytest.raises(PermissionError, match="another key than the one given") as caught:
        Gallery.open(filled, key=OTHER)
    assert KEY.hex() not in str(caught.value)
    with Gallery.open(filled, key=KEY) as gallery:
        gallery.set_key(OTHER)
        assert gallery.verify().ok
    with pytest.raises(WrongKey):
        Gallery.open(filled, key=KEY)
    Gallery.open(filled, key=OTHER).close()


def test_a_process_that_has_it_open_is_told(filled, vectors):
    with Gallery.open(filled) as gallery, Gallery.open(filled) as other:
        other.search(vectors(1), 1)
        gallery.set_key(KEY)
        for call in (
            lambda: other.search(vectors(1), 1),
            lambda: other.enrol("Bob", vectors(1)),
            other.snapshot,
            other.verify,
        ):
            with pytest.raises(WrongKey, match="by another process; open it again"):
                call()
    with Gallery.open(filled, key=KEY) as gallery:
        assert gallery.verify().ok


@pytest.mark.parametrize("how", ["flipped", "of another face", "cut", "empty"])
def test_an_altered_vector_or_picture_is_noticed(filled, vectors, how):
    with Gallery.open(filled) as gallery:
        gallery.set_key(KEY)
        first, second = (face.id for face in gallery.faces("Ada")[:2])
    (filled / "faces.snapshot").unlink()
    with sqlite3.connect(filled / "gallery.sqlite3") as connection:
        for table, column in (("vectors", "vector"), ("chips", "jpeg")):
            ((sealed,),) = connection.execute(f"SELECT {column} FROM {table} WHERE face = ?", (second,)).fetchall()
            flipped = bytearray(sealed)
            flipped[30] ^= 1
            bad = {"flipped": bytes(flipped), "of another face": sealed, "cut": sealed[:-1], "empty": b""}[how]
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE face = ?", (bad, first))
    connection.close()
    with Gallery.open(filled, key=KEY) as gallery:
        with pytest.raises(GalleryCorrupt, match=f"the vector of face {first} is damaged"):
            gallery.search(vectors(1), 1)
        with pytest.raises(GalleryCorrupt, match=f"of face {first} is damaged"):
            gallery.face(first)
        assert any(f"face {first}: its vector has 0 bytes" in problem for problem in gallery.verify().problems)
        with pytest.raises(GalleryCorrupt, match="nothing was changed"):
            gallery.set_key(None)
        gallery.remove_faces([first])
        assert gallery.search(vectors(1), 1)
        assert gallery.verify().problems == ()


@pytest.mark.parametrize("kind", ["flat", "sq8", "pq-exact"])
def test_the_snapshot_in_pieces(folder, vectors, rand, kind, monkeypatch):
    monkeypatch.setattr("vultus.index.snapshot._PIECE", 10_007)
    probes = vectors(3)
    with Gallery.open(folder, key=KEY) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(1100)], vectors(1100))
        gallery.convert(kind)
        expected = found(gallery, probes)
    path = folder / "faces.snapshot"
    whole = path.read_bytes()

    def answers():
        with Gallery.open(folder, key=KEY) as gallery:
            result = found(gallery, probes), gallery._backend.live.origin
            gallery.close(snapshot=False)
        return result

    assert answers() == (expected, "snapshot")
    piece = 10_007 + 28
    swapped = whole[:128] + whole[128 + piece : 128 + 2 * piece] + whole[128 : 128 + piece] + whole[128 + 2 * piece :]
    flipped = bytearray(whole)
    flipped[int(rand.integers(128, len(whole)))] ^= 1
    for damaged in (swapped, flipped, whole[:-1], whole[: 128 + piece]):
        path.write_bytes(damaged)
        assert answers() == (expected, "database")


ENCRYPT = """
import sys
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
print("open", flush=True)
gallery.set_key(bytes.fromhex(sys.argv[2]))
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_kill_while_it_is_encrypted(folder, python, rand, tmp_path):
    rows = rand.standard_normal((4000, 128)).astype(np.float32)
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(len(rows))], rows)
        expected = found(gallery, rows[:3])
        gallery.snapshot()
    outcomes = set()
    for at in range(4):
        copy = tmp_path / f"copy {at}"
        shutil.copytree(folder, copy)
        child = python(ENCRYPT, copy, KEY.hex())
        assert child.stdout.readline() == "open\n"
        time.sleep(rand.uniform(0.0, 0.15))  # the random moment
        child.send_signal(signal.SIGKILL)
        done = child.stdout.read() == "done\n"
        child.wait()
        try:
            opened = Gallery.open(copy)
            assert not done
        except WrongKey:
            opened = Gallery.open(copy, key=KEY)
        with opened as gallery:
            outcomes.add(gallery.stats().encrypted)
            assert found(gallery, rows[:3]) == expected
            assert gallery.verify().problems == ()
    assert outcomes


def test_without_the_library(filled, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with Gallery.open(filled) as gallery, pytest.raises(WrongKey, match=r"pip install 'vultus\[crypto\]'"):
        gallery.set_key(KEY)
