"""A disk that is full, a quota, a folder that may not be written: said in words, and nothing acknowledged is lost."""

import errno
import os
import resource
import signal
import subprocess

import numpy as np
import pytest

from vultus.index import Gallery, StorageError


def fill(gallery, rand):
    """Add faces until it fails; returns those acknowledged and the error."""
    acknowledged = []
    try:
        while True:
            acknowledged += gallery.add_faces(rand.standard_normal((20, 128)))
            assert len(acknowledged) < 100_000
    except StorageError as error:
        return acknowledged, error


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 5 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small file system is not allowed here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk(small_disk, rand):
    folder = small_disk / "gallery"
    with Gallery.open(folder) as gallery:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        acknowledged, error = fill(gallery, rand)
        assert error.errno == errno.ENOSPC
        assert "is full; nothing of this write was kept, everything acknowledged before is safe" in str(error)
        assert len(acknowledged) > 100
        probe = rand.standard_normal((1, 128))
        assert len(gallery.search(probe, 10**6)[0]) == len(acknowledged)
        with pytest.raises(StorageError, match=r"snapshot .* could not be written .* complete and safe"):
            gallery.snapshot()
        ballast.unlink()
        gallery.remove_faces(acknowledged[:50])
        acknowledged = acknowledged[50:] + gallery.add_faces(rand.standard_normal((5, 128)))
        gallery.close(snapshot=False)
    assert sorted(path.name for path in folder.iterdir()) == ["gallery.sqlite3", "gallery.writer"]
    with Gallery.open(folder) as gallery:
        assert [face.id for face in gallery.faces(None)] == acknowledged
        assert gallery.verify().problems == ()


def test_a_file_size_limit(folder, rand):
    """A quota shows itself as EFBIG or EDQUOT, which SQLite calls an I/O error."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            gallery = Gallery.open(folder)
            acknowledged, error = fill(gallery, rand)
            gallery.close(snapshot=False)
            (folder.parent / "acknowledged").write_text(" ".join(map(str, acknowledged)))
            code = 0 if error.errno in (errno.EIO, errno.ENOSPC) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    acknowledged = [int(word) for word in (folder.parent / "acknowledged").read_text().split()]
    assert len(acknowledged) > 100
    with Gallery.open(folder) as gallery:
        assert [face.id for face in gallery.faces(None)] == acknowledged
        assert gallery.verify().problems == ()


def test_closing_on_a_full_disk_loses_only_the_snapshot(small_disk, rand, caplog):
    with Gallery.open(small_disk / "gallery") as gallery:
        faces = gallery.add_faces(rand.standard_normal((1500, 128)))
        (small_disk / "ballast").write_bytes(bytes(max(0, os.statvfs(small_disk).f_bavail * 4096 - 300_000)))
    assert "only the next opening takes longer" in caplog.text
    with Gallery.open(small_disk / "gallery") as gallery:
        assert [face.id for face in gallery.faces(None)] == faces
        gallery.close(snapshot=False)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be made|Not a directory"):
        Gallery.open(tmp_path / "file" / "gallery")


def test_vectors_survive_bit_for_bit(folder, rand):
    rows = rand.standard_normal((64, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(rows)
        before = [gallery.face(face).vector for face in faces]
        gallery.snapshot()
    with Gallery.open(folder) as gallery:
        after = [gallery.face(face).vector for face in faces]
    np.testing.assert_array_equal(before, after)
    np.testing.assert_allclose(after, rows, atol=1e-7)
