"""Searches and changes are recorded with who, when and whom; nothing is lost but the last second of a killed process."""

import errno
import logging
import signal
import threading

import pytest

from vultus.configs.schema import Audit
from vultus.index import Gallery, StorageError
from vultus.index.audit import os_user

ON = Audit(enabled=True)


def listed(gallery, **options):
    return [(entry.actor, entry.operation, entry.people) for entry in gallery.audit.entries(**options)]


def test_who_did_what(folder, vectors, tmp_path):
    rows = vectors(3)
    with Gallery.open(folder) as gallery:
        gallery.enrol("before", rows[2:])
    with Gallery.open(folder, audit=ON, actor="ada") as gallery:
        bob = gallery.enrol("Bob", rows[:1])
        gallery.search(rows, 2, threshold=0.9)
        with gallery.audit.acting("eve"):
            gallery.rename(bob, "Rob")
            gallery.search(rows[:1], 1)
        gallery.export(bob, tmp_path / "bob.zip")
        gallery.backup(tmp_path / "backup")
        gallery.remove_identity(bob)
        assert listed(gallery) == [
            (None, "created", ()),
            (None, "added", (1,)),
            ("ada", "added", ()),  # whose faces they were went with him
            ("ada", "search", (bob, 1)),
            ("eve", "renamed", (bob,)),
            ("eve", "search", (bob,)),
            ("ada", "export", (bob,)),
            ("ada", "backup", ()),
            ("ada", "dropped", (bob,)),
        ]
        search = gallery.audit.entries()[3]
        assert (search.faces, search.k, search.threshold) == (3, 2, 0.9)
        assert search.program.startswith("process ")
        assert listed(gallery, since=search.at, limit=2) == listed(gallery)[-2:]
        text = b"".join(path.read_bytes() for path in folder.iterdir())
        assert b"Rob" not in text.replace(b"Robert", b"")


def test_off_by_default(gallery, vectors):
    gallery.search(vectors(1), 1)
    gallery.enrol("Ada", vectors(1))
    assert listed(gallery) == [(None, "created", ()), (None, "added", (1,))]


def test_the_user_of_the_system_by_default(folder, vectors):
    with Gallery.open(folder, audit=ON) as gallery:
        gallery.search(vectors(1), 1)
    with Gallery.open(folder) as gallery:
        assert listed(gallery)[-1] == (os_user(), "search", ())


@pytest.mark.parametrize("actor", ["", "a\nb", "x" * 201])
def test_what_is_no_actor(folder, actor):
    with pytest.raises(ValueError, match="an actor has 1 to 200 printable characters"):
        Gallery.open(folder, audit=ON, actor=actor)
    with Gallery.open(folder, audit=ON) as gallery, pytest.raises(ValueError, match="an actor"):
        gallery.audit.acting(actor).__enter__()


SEARCHES = """
import sys
from vultus.configs.schema import Audit
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1], audit=Audit(enabled=True, strict=sys.argv[2] == "strict"), actor="ada")
for at in range(10**9):
    gallery.search([[1.0, 2.0]], at + 1)
    print(at + 1, flush=True)
    if sys.argv[2] == "flush":
        gallery.audit.flush()
        print("flushed", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["strict", "flush"])
def test_kill_loses_nothing_that_was_promised(folder, python, how):
    child = python(SEARCHES, folder, how)
    lines = [child.stdout.readline() for _ in range(2 if how == "flush" else 20)]
    child.send_signal(signal.SIGKILL)
    lines += child.stdout.read().splitlines()
    child.wait()
    answered = max(int(line) for line in lines if line.strip().isdigit())
    with Gallery.open(folder) as gallery:
        recorded = [entry.k for entry in gallery.audit.entries() if entry.operation == "search"]
    assert recorded[:answered] == list(range(1, answered + 1))


def test_it_is_written_within_about_a_second(folder, vectors):
    with Gallery.open(folder, audit=ON) as gallery, Gallery.open(folder) as other:
        written = threading.Event()
        flush = gallery.audit.flush

        def flushed():
            flush()
            written.set()

        gallery.audit.flush = flushed
        gallery.search(vectors(1), 1)
        assert written.wait(30)
        assert listed(other)[-1] == (os_user(), "search", ())


def test_old_entries_are_forgotten(folder, vectors):
    with Gallery.open(folder, audit=ON) as gallery:
        gallery.search(vectors(1), 1)
        gallery.enrol("Ada", vectors(1))
        gallery.audit.flush()
        with gallery._store.write() as connection:
            connection.execute("UPDATE audit SET at = at - 3 * 86400")
            connection.execute("UPDATE changes SET at = at - 3 * 86400")
        assert gallery.audit.prune(0) == 0
    with Gallery.open(folder, audit=Audit(enabled=True, keep_days=2)) as gallery:
        gallery.search(vectors(1), 1)
        assert listed(gallery) == [(None, "created", ()), (None, "added", (1,)), (os_user(), "search", (1,))]
        assert gallery.verify().ok


def test_what_cannot_be_written_is_kept_and_tried_again(folder, vectors, monkeypatch, caplog):
    with Gallery.open(folder, audit=ON) as gallery:
        monkeypatch.setattr("vultus.index.audit._MOST_WAITING", 3)
        writing = gallery._store.write

        def full(**_):
            raise StorageError("the disk is full", errno.ENOSPC)

        monkeypatch.setattr(gallery._store, "write", full)
        for _ in range(3):
            gallery.search(vectors(1), 1)
        with pytest.raises(StorageError, match="full"):
            gallery.search(vectors(1), 1)
        monkeypatch.setattr(gallery._store, "write", writing)
        gallery.search(vectors(1), 1)
        assert len(gallery.audit.entries()) == 6
        monkeypatch.setattr(gallery._store, "write", full)
        gallery.search(vectors(1), 1)
        with caplog.at_level(logging.WARNING, "vultus.index"):
            gallery.audit.close()
        assert "1 entries of the audit log are lost" in caplog.text
        monkeypatch.setattr(gallery._store, "write", writing)
