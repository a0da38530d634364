"""A snapshot may be torn, flipped, foreign, old or newer than the database: the answers stay the same."""

import logging
import os
import shutil
import sqlite3
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vultus.index import Gallery


def answers(folder, probes, **options):
    """What a freshly opened gallery answers, and where its index came from."""
    with Gallery.open(folder, **options) as gallery:
        found = [[(m.identity, m.face_id, m.similarity) for m in row] for row in gallery.search(probes, 10)]
        origin = gallery._backend.live.origin
        assert gallery.verify().problems == () or origin == "database"
        gallery.close(snapshot=False)
    return found, origin


@pytest.fixture
def probes(vectors):
    return vectors(5)


@pytest.fixture
def snapshot(folder, vectors):
    with Gallery.open(folder, model="a-model") as gallery:
        gallery.enrol_many([f"p{at % 40}" for at in range(200)], vectors(200))
        gallery.add_faces(vectors(100))
        gallery.snapshot()
    return folder / "faces.snapshot"


def test_the_bytes_are_those_of_the_table(folder, snapshot):
    data = snapshot.read_bytes()
    fields = struct.unpack_from("<8sII16sQQdQIII12s", data)
    magic, version, head_crc, _, _, _, _, count, dim, body_crc, model_size, kind = fields
    head = 128
    assert (magic, version, count, dim, model_size) == (b"VULTFACE", 2, 300, 16, 7)
    assert kind == b"flat".ljust(12, b"\0")
    assert data[88:head] == b"a-model".ljust(head - 88, b"\0")
    assert head_crc == zlib.crc32(data[16:head])
    assert body_crc == zlib.crc32(data[head:])
    assert len(data) == head + 300 * (8 + 8 + 4 * 16) + 4
    faces, people = np.frombuffer(data, "<i8", 600, head).reshape(2, 300)
    rows = np.frombuffer(data, "<f4", offset=head + 300 * 16 + 4).reshape(300, 16)
    with Gallery.open(folder) as gallery:
        for at in (0, 150, 299):
            face = gallery.face(int(faces[at]))
            assert (face.identity or 0) == people[at]
            np.testing.assert_array_equal(face.vector, rows[at])


def test_it_is_used_and_followed_by_later_changes(folder, snapshot, vectors, probes):
    before, origin = answers(folder, probes)
    assert origin == "snapshot"
    with Gallery.open(folder) as gallery:
        new = gallery.add_faces(probes[:2])
        gallery.merge("p1", "p2")
        gallery.merge("p3", "p1")
        gallery.remove_identity("p5")
        gallery.remove_faces([250, 251, 260, new[0]])
        gallery.rename("p6", "six")
        gallery.close(snapshot=False)
    after, origin = answers(folder, probes)
    assert origin == "snapshot"
    assert after != before
    snapshot.unlink()
    assert answers(folder, probes) == (after, "database")


def test_faces_are_added_and_found_while_the_disk_takes_a_snapshot(folder, snapshot, vectors, monkeypatch):
    rows, found, sync = vectors(2), [], os.fsync

    def slow(handle):
        if not found:
            added = threads.submit(gallery.add_faces, rows).result(timeout=30)
            found.extend(threads.submit(gallery.search, rows, 1).result(timeout=30))
            assert [match.face_id for (match,) in found] == added
        sync(handle)

    with Gallery.open(folder) as gallery, ThreadPoolExecutor(1) as threads:
        gallery.search(rows, 1)
        with monkeypatch.context() as patched:
            patched.setattr("vultus.index.snapshot.os.fsync", slow)
            gallery.snapshot()
        assert len(found) == 2
        gallery.close(snapshot=False)
    assert answers(folder, rows)[1] == "snapshot"


def test_a_torn_snapshot_changes_no_answer(folder, snapshot, probes, rand):
    whole = snapshot.read_bytes()
    expected, _ = answers(folder, probes)
    for size in [0, 1, 75, 76, 100, 127, 128, len(whole) - 1, *rand.integers(0, len(whole), 10).tolist()]:
        snapshot.write_bytes(whole[:size])
        assert answers(folder, probes) == (expected, "database"), size
    snapshot.write_bytes(whole + b"\0")
    assert answers(folder, probes) == (expected, "database")
    snapshot.write_bytes(whole)
    assert answers(folder, probes) == (expected, "snapshot")


def test_a_flipped_bit_changes_no_answer(folder, snapshot, probes, rand):
    whole = snapshot.read_bytes()
    expected, _ = answers(folder, probes)
    for at in [*range(0, 80, 3), *rand.integers(0, len(whole), 20).tolist()]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rand.integers(8))
        snapshot.write_bytes(damaged)
        assert answers(folder, probes) == (expected, "database"), at


def test_a_snapshot_of_another_version_gallery_or_model_is_not_used(folder, snapshot, tmp_path, vectors, probes):
    whole = snapshot.read_bytes()
    expected, _ = answers(folder, probes)
    snapshot.write_bytes(whole[:8] + struct.pack("<I", 1) + whole[12:])
    assert answers(folder, probes) == (expected, "database")
    other = tmp_path / "other"
    with Gallery.open(other, model="a-model") as gallery:
        gallery.add_faces(vectors(300))
        gallery.snapshot()
    shutil.copy(other / "faces.snapshot", snapshot)
    assert answers(folder, probes) == (expected, "database")
    with Gallery.open(other) as gallery:
        gallery._store._writing.execute("UPDATE gallery SET model = 'another'")
        gallery.close(snapshot=False)
    assert answers(other, vectors(1))[1] == "database"


def test_a_database_put_back_to_an_older_state_is_believed(folder, snapshot, tmp_path, vectors, probes):
    shutil.copy(folder / "gallery.sqlite3", tmp_path / "backup")
    with Gallery.open(folder) as gallery:
        gallery.remove_identity("p1")
        gallery.enrol("later", vectors(4))
        gallery.snapshot()
    shutil.copy(tmp_path / "backup", folder / "gallery.sqlite3")
    found, origin = answers(folder, probes)
    assert origin == "database"
    with Gallery.open(folder) as gallery:  # grows past the snapshot's sequence number on another way
        assert gallery.verify().problems[0].startswith("snapshot ")
        for at in range(6):
            gallery.rename("p9" if at % 2 == 0 else "nine", "nine" if at % 2 == 0 else "p9")
        gallery.close(snapshot=False)
    assert answers(folder, probes) == (found, "database")
    with Gallery.open(folder) as gallery:
        gallery.search(probes, 1)
    assert answers(folder, probes) == (found, "snapshot")


def test_an_open_gallery_notices_that_the_database_was_put_back(folder, snapshot, tmp_path, vectors, probes):
    with Gallery.open(folder) as gallery, Gallery.open(tmp_path / "backup") as empty:
        shutil.copy(folder / "gallery.sqlite3", tmp_path / "copy")
        expected = gallery.search(probes, 5)
        gallery.remove_identity("p1")
        gallery.enrol("later", probes[:1])
        assert gallery.search(probes, 5) != expected
        saved, live = sqlite3.connect(tmp_path / "copy"), sqlite3.connect(folder / "gallery.sqlite3")
        saved.backup(live)
        saved.close()
        live.close()
        assert gallery.search(probes, 5) == expected
        assert empty.search(probes, 5) == [[]] * 5


def test_damage_is_reported_and_repaired_at_the_close(folder, snapshot, probes, caplog):
    damaged = bytearray(snapshot.read_bytes())
    damaged[1000] ^= 4
    snapshot.write_bytes(damaged)
    with caplog.at_level(logging.WARNING, "vultus.index"), Gallery.open(folder) as gallery:
        gallery.search(probes, 1)
        (problem,) = gallery.verify().problems
        assert "its checksum is wrong" in problem
    assert "its checksum is wrong; reading the database instead" in caplog.text
    assert answers(folder, probes)[1] == "snapshot"


def test_closing_writes_one_when_it_spares_work(folder, snapshot, vectors):
    def written():
        return snapshot.stat().st_mtime_ns, snapshot.stat().st_ino

    first = written()
    with Gallery.open(folder) as gallery:
        gallery.add_faces(vectors(20))
    assert written() == first
    with Gallery.open(folder) as gallery:
        gallery.add_faces(vectors(2000))
        gallery.close(snapshot=False)
    assert written() == first
    with Gallery.open(folder) as gallery:
        gallery.stats()
    second = written()
    assert second != first
    with Gallery.open(folder) as gallery:
        gallery.close(snapshot=True)
    assert written() != second


@pytest.mark.slow
def test_opening_100_000_faces_takes_less_than_a_second(folder, vectors):
    rows = vectors(100_000, 128)
    with Gallery.open(folder) as gallery:
        for start in range(0, len(rows), 10_000):
            gallery.enrol_many([f"p{at // 10}" for at in range(start, start + 10_000)], rows[start : start + 10_000])
        gallery.snapshot()
        gallery.close(snapshot=False)
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        with Gallery.open(folder) as gallery:
            assert gallery.search(rows[77:78], 1)[0][0].name == "p7"
            taken.append(time.perf_counter() - begun)
            assert gallery._backend.live.origin == "snapshot"
    assert min(taken) < 1, taken


def test_closing_an_empty_gallery_writes_none(folder):
    with Gallery.open(folder) as gallery:
        assert gallery.stats().last_snapshot is None
    assert not (folder / "faces.snapshot").exists()
    with Gallery.open(folder) as gallery:
        gallery.snapshot()
        assert gallery.stats().last_snapshot is None
        gallery.remove_faces(gallery.add_faces([[1.0, 2.0]]))
        gallery.snapshot()
        assert gallery.stats().last_snapshot is not None
        assert gallery.verify().ok


def test_naming_the_model_later_keeps_the_snapshot(folder, vectors, probes):
    with Gallery.open(folder) as gallery:
        gallery.add_faces(vectors(10))
        gallery.snapshot()
    with Gallery.open(folder, model="a-model") as gallery:
        assert gallery.verify().ok
    assert answers(folder, probes)[1] == "snapshot"
