"""A gallery in a folder that may only be read: a mounted backup, another user's, a DVD."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vultus.index import Gallery, StorageError, UnknownFormat


@pytest.fixture
def mounted(folder, tmp_path):
    """The folder of the gallery seen through a mount that cannot be written."""
    seen = tmp_path / "seen"
    seen.mkdir()
    folder.mkdir()

    def mount():
        for options in (["--bind", folder, seen], ["-o", "remount,ro,bind", seen]):
            done = subprocess.run(["mount", *options], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        return seen

    yield mount
    subprocess.run(["umount", "--lazy", seen], capture_output=True)


def names(gallery, probe):
    return [match.name for match in gallery.search(probe, 3)[0]]


def test_it_is_searched_and_not_written(folder, mounted, vectors, tmp_path, caplog):
    rows = vectors(1200)
    with Gallery.open(folder, model="m") as gallery:
        gallery.enrol_many([f"p{at}" for at in range(1200)], rows)
        expected = names(gallery, rows[:1])
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    seen = mounted()
    with Gallery.open(seen, model="m") as gallery:
        assert names(gallery, rows[:1]) == expected
        assert gallery.verify().problems == ()
        assert gallery.stats().identities == 1200
        gallery.backup(tmp_path / "backup")
        for change in (
            lambda: gallery.enrol("Ada", rows[:1]),
            lambda: gallery.remove_identity("p1"),
            gallery.compact,
            gallery.snapshot,
        ):
            with pytest.raises(StorageError, match=r"may only be read|could not be written") as caught:
                change()
            assert caught.value.errno == errno.EROFS
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert caplog.text == ""


def test_a_writer_elsewhere_is_followed(folder, mounted, vectors):
    rows = vectors(4)
    with Gallery.open(folder, model="m") as writer:
        writer.enrol("Ada", rows[:1])
    with Gallery.open(mounted()) as gallery:
        assert names(gallery, rows[:1]) == ["Ada"]
        for at in (1, 2):
            with Gallery.open(folder) as writer:
                writer.enrol(f"Bob {at}", rows[at : at + 1])
                assert sorted(names(gallery, rows[:1])) == ["Ada", "Bob 1", "Bob 2"][: at + 1]
                writer.rename("Ada", "Eva")
                assert "Eva" in names(gallery, rows[:1])
                writer.rename("Eva", "Ada")
            assert sorted(names(gallery, rows[:1])) == ["Ada", "Bob 1", "Bob 2"][: at + 1]


def test_what_a_killed_writer_left(folder, mounted, python, vectors):
    child = python(
        "import sys; from vultus.index import Gallery; gallery = Gallery.open(sys.argv[1]);"
        "gallery.enrol('Ada', [[1.0, 2.0]]); print('done', flush=True); sys.stdin.read()",
        folder,
    )
    assert child.stdout.readline() == "done\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    seen = mounted()
    with Gallery.open(seen) as gallery:
        assert names(gallery, [[1.0, 2.0]]) == ["Ada"]
    (folder / "gallery.sqlite3-shm").unlink()
    with pytest.raises(StorageError, match="left by a process that was killed"):
        Gallery.open(seen)
    Gallery.open(folder).close()
    with Gallery.open(seen) as gallery:
        assert names(gallery, [[1.0, 2.0]]) == ["Ada"]


def test_an_older_format_is_refused(folder, mounted):
    shutil.copytree(Path(__file__).parent / "data" / "v1", folder, dirs_exist_ok=True)
    with pytest.raises(UnknownFormat, match="has gallery format 1, which becomes 4 at the first opening"):
        Gallery.open(mounted())


def test_permissions_alone(folder, vectors):
    """Another user's folder: everything may be read and nothing written."""
    if os.getuid():
        pytest.skip("only root can become another user")
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", [[1.0, 2.0]])
    for path in (folder, *folder.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o055)
    for path in folder.iterdir():
        path.chmod(0o644)
    code = (
        "import os, sys; from vultus.index import Gallery; os.setgid(65534); os.setuid(65534);"
        "gallery = Gallery.open(sys.argv[1]); print(gallery.search([[1.0, 2.0]], 1)[0][0].name); gallery.close()"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Ada\n", "")
