"""All that is held about a person is in the zip file, and nothing of anybody else's."""

import errno
import io
import json
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest

from vultus.index import FaceRecord, FileRecord, Gallery, Sighting, StorageError, UnknownIdentity

CHIP = b"\xff\xd8 a chip of "


@pytest.fixture
def ada(gallery, vectors):
    gallery.enrol("Bob", vectors(2), [FaceRecord(source="bob.jpg", chip=CHIP + b"Bob")] * 2)
    points = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0))
    number = gallery.enrol(
        "Ada Lövelace",
        vectors(3),
        [
            FaceRecord(source=f"{at}.jpg", time=1e9 + at, landmarks=points, box=(1, 2, 3, 4), chip=CHIP + b"Ada")
            for at in range(3)
        ],
    )
    record = FileRecord(source="/photos/ada/1.jpg", size=5, mtime_ns=1, digest=b"\x01\xff", label="Ada Lövelace")
    gallery.commit_file(record, vectors(1), label="Ada Lövelace")
    gallery.commit_file(FileRecord(source="/photos/bob.jpg", size=5, mtime_ns=1), vectors(1), label="Bob")
    gallery.add_sighting(Sighting(run="r", source="door", track=1, time=1.0, identity=number))
    gallery.add_sighting(Sighting(run="r", source="door", track=2, time=1.0))
    return number


def lines(archive, name):
    return [json.loads(line) for line in archive.read(f"{name}.jsonl").decode().splitlines()]


def test_all_of_it_and_nothing_else(gallery, ada, tmp_path):
    out = tmp_path / "ada.zip"
    done = gallery.export("Ada Lövelace", out)
    assert (done.identity, done.name, done.faces, done.sightings) == (ada, "Ada Lövelace", 4, 1)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("person.json"))["name"] == "Ada Lövelace"
        faces = lines(archive, "faces")
        stored = gallery.faces(ada)
        assert [face["id"] for face in faces] == [face.id for face in stored]
        assert faces[0]["landmarks"] == list(range(1, 11))
        assert [face["time"] for face in faces] == [face.time for face in stored]
        table = np.load(io.BytesIO(archive.read("vectors.npy")))
        np.testing.assert_array_equal(table, [gallery.face(face.id).vector for face in stored])
        chips = [name for name in archive.namelist() if name.startswith("chips/")]
        assert chips == [f"chips/{face.id}.jpg" for face in stored[:3]]
        assert {archive.read(chip) for chip in chips} == {CHIP + b"Ada"}
        assert [row["track"] for row in lines(archive, "sightings")] == [1]
        (file,) = lines(archive, "files")
        assert (file["source"], file["digest"]) == ("/photos/ada/1.jpg", "01ff")
        readme = archive.read("README.txt").decode()
        assert all(name.split("/")[0] in readme for name in archive.namelist()[1:])
        assert b"ob" not in b"".join(
            archive.read(name) for name in archive.namelist() if name.endswith(("jsonl", "jpg"))
        )


def test_every_column_that_is_held(gallery, ada, tmp_path):
    gallery.export(ada, tmp_path / "ada.zip")
    with zipfile.ZipFile(tmp_path / "ada.zip") as archive, gallery._store.read() as connection:
        for table in ("faces", "sightings", "files"):
            held = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert list(lines(archive, table)[0]) == held


def test_acts_that_are_about_the_person(gallery, ada, vectors, tmp_path):
    bob, cyd = gallery.enrol_many(["Bob", "Cyd"], vectors(2, 16))
    gallery.merge(ada, bob)
    gallery.rename(cyd, "Zoe")
    gallery.export(ada, tmp_path / "ada.zip")
    with zipfile.ZipFile(tmp_path / "ada.zip") as archive:
        (act,) = lines(archive, "acts")
    assert (act["kind"], act["detail"]["identity"], act["detail"]["name"]) == ("merge", ada, "Bob")


def test_nothing_is_left_of_what_failed(gallery, ada, tmp_path):
    with pytest.raises(UnknownIdentity):
        gallery.export("Nobody", tmp_path / "x.zip")
    (tmp_path / "there.zip").write_bytes(b"precious")
    with pytest.raises(StorageError, match="is there already") as caught:
        gallery.export(ada, tmp_path / "there.zip")
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(StorageError, match="could not be written"):
        gallery.export(ada, tmp_path / "no such folder" / "x.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "there.zip"]


def test_memory_is_bounded(folder, rand):
    """40 MB of pictures go through a few."""
    with Gallery.open(folder) as gallery:
        for _ in range(4):
            chips = [FaceRecord(chip=rand.bytes(100_000)) for _ in range(100)]
            gallery.enrol("Ada", rand.standard_normal((100, 64)), chips)
        del chips
        with open("/dev/null", "wb") as nothing:
            tracemalloc.start()
            assert gallery.export("Ada", nothing).faces == 400
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak < 5_000_000
