"""Backups are whole and of one moment while others write; a restored gallery answers the same; compaction gives back."""

import threading

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, GalleryCorrupt, GalleryNotFound, StorageError, UnknownFormat


def found(gallery, probes):
    return [[(m.name, m.face_id, m.similarity) for m in row] for row in gallery.search(probes, 5)]


def test_a_backup_made_while_others_write_is_of_one_moment(folder, tmp_path, rand):
    """Each commit adds two faces of one person; a backup with one of them would be of no moment."""
    stop = threading.Event()

    def write():
        with Gallery.open(folder) as writer:
            number = 0
            while not stop.is_set():
                number += 1
                writer.enrol(f"new {number}", rand.standard_normal((2, 64)))

    with Gallery.open(folder, model="m") as gallery:
        gallery.enrol_many([f"p{at}" for at in range(3000)], rand.standard_normal((3000, 64)))
        writer = threading.Thread(target=write)
        writer.start()
        try:
            sizes = []
            for number in range(5):
                gallery.backup(tmp_path / f"{number}.backup")
                sizes.append(gallery.stats().faces)
        finally:
            stop.set()
            writer.join()
    assert sizes == sorted(sizes)
    before = 3000
    for number, size in enumerate(sizes):
        copy = tmp_path / f"copy {number}"
        Gallery.restore(tmp_path / f"{number}.backup", copy)
        with Gallery.open(copy, model="m", create=False) as restored:
            assert restored.verify().problems == ()
            faces = restored.stats().faces
            assert before <= faces <= size
            assert all(person.faces == 2 for person in restored.identities() if person.name.startswith("new"))
            before = faces
            restored.close(snapshot=False)


def test_what_is_restored_is_what_was_backed_up(folder, tmp_path, vectors):
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", vectors(3), [FaceRecord(source="a.jpg", chip=b"\xff\xd8\xff\xd9")] * 3)
        gallery.add_faces(vectors(50))
        probes = vectors(4)
        before = found(gallery, probes)
        size = gallery.backup(tmp_path / "one.backup")
        assert (tmp_path / "one.backup").stat().st_size == size
        gallery.remove_identity("Ada")
        with pytest.raises(StorageError, match="is there already; nothing was written"):
            gallery.backup(tmp_path / "one.backup")
        with pytest.raises(StorageError, match="could not be written"):
            gallery.backup(tmp_path / "nowhere" / "one.backup")
        with pytest.raises(StorageError, match="there and not empty; nothing was changed"):
            Gallery.restore(tmp_path / "one.backup", folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery", "one.backup"]
    Gallery.restore(tmp_path / "one.backup", tmp_path / "again")
    with Gallery.open(tmp_path / "again") as restored:
        assert found(restored, probes) == before
        assert restored.face(1).chip == b"\xff\xd8\xff\xd9"
        assert restored.verify().problems == ()


def test_what_is_no_whole_backup_is_refused(folder, tmp_path, vectors, rand):
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at}" for at in range(500)], vectors(500))
        gallery.backup(tmp_path / "good")
    whole = (tmp_path / "good").read_bytes()
    with pytest.raises(GalleryNotFound, match="no backup at"):
        Gallery.restore(tmp_path / "missing", tmp_path / "new")
    bad = tmp_path / "bad"
    bad.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(GalleryCorrupt, match="nothing was restored"):
        Gallery.restore(bad, tmp_path / "new")
    for size in (len(whole) // 2, len(whole) - 8192):
        bad.write_bytes(whole[:size])
        with pytest.raises((GalleryCorrupt, UnknownFormat)):
            Gallery.restore(bad, tmp_path / "new")
    torn = bytearray(whole)
    torn[8192 * 4 : 8192 * 6] = rand.bytes(8192 * 2)
    bad.write_bytes(torn)
    with pytest.raises(GalleryCorrupt, match="nothing was restored"):
        Gallery.restore(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_compaction_gives_back_and_leaves_no_byte(folder, vectors):
    with Gallery.open(folder) as gallery, Gallery.open(folder) as other:
        gallery.enrol_many([f"stays {at}" for at in range(200)], vectors(200, 128))
        chip = b"\xff\xd8" + b"unmistakable chip " * 300
        gone = gallery.enrol("Persephone Nightingale", vectors(800, 128), [FaceRecord(chip=chip)] * 800)
        stored = [gallery.face(face.id).vector.tobytes() for face in gallery.faces(gone)[::50]]
        gallery.snapshot()
        probes = vectors(5, 128)
        gallery.remove_identity(gone)
        before = found(other, probes)
        assert gallery.compact() > 800 * 5000
        for path in folder.iterdir():
            data = path.read_bytes()
            for needle in (b"Persephone", b"unmistakable", *stored):
                assert needle not in data, path
        assert found(gallery, probes) == found(other, probes) == before
        assert gallery.verify().problems == ()
        assert np.isclose(gallery.stats().faces, 200)
        gallery.enrol("after", vectors(1, 128))
        assert other.identity("after").faces == 1
