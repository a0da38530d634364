"""Searches and changes are recorded with who, when and whom; nothing is lost but the last second of a killed process."""

import asyncio
import errno
import logging
import signal
import threading

import pytest

from vultus.configs.schema import Audit, Config
from vultus.index import AuditWhere, Gallery, StorageError
from vultus.index.audit import os_user
from vultus.index.configured import open_gallery

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
        with gallery.audit.acting("eve", via="10.0.0.3"):
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
        assert {(one.actor, one.via) for one in gallery.audit.entries()[4:6]} == {("eve", "10.0.0.3")}
        assert listed(gallery, since=search.at, limit=2) == listed(gallery)[-2:]
        text = b"".join(path.read_bytes() for path in folder.iterdir())
        assert b"Rob" not in text.replace(b"Robert", b"")


def test_pages_of_what_is_wanted(place, vectors):
    with Gallery.open(place, audit=ON, actor="ada") as gallery:
        gallery.enrol("Bob", vectors(1))
        for actor in ("eve", "bob", "eve"):
            with gallery.audit.acting(actor):
                gallery.search(vectors(1), 1)
                gallery.add_faces(vectors(1))
        everything = gallery.audit.entries()[::-1]
        pages, cursor = [], None
        while not pages or cursor is not None:
            page = gallery.audit.page(limit=2, cursor=cursor)
            pages += page.items
            cursor = page.cursor
            gallery.audit.note("later")
        assert pages == everything
        one = gallery.audit.page(AuditWhere(actor="eve", operations=("search",)), limit=1)
        two = gallery.audit.page(AuditWhere(actor="eve", operations=("search",)), limit=1, cursor=one.cursor)
        assert [(entry.actor, entry.operation) for entry in one.items + two.items] == [("eve", "search")] * 2
        assert one.items[0].at > two.items[0].at
        assert two.cursor is None
        between = AuditWhere(after=two.items[0].at, before=one.items[0].at, operations=("added", "search"))
        assert {entry.actor for entry in gallery.audit.page(between).items} == {"eve", "bob"}
        with pytest.raises(ValueError, match="no cursor"):
            gallery.audit.page(cursor="other")


def test_who_acts_goes_with_the_context_to_other_threads(folder, vectors):
    async def serve(gallery, actor):
        with gallery.audit.acting(actor, via="10.0.0.1"):
            await asyncio.to_thread(gallery.search, vectors(1), 1)
            await asyncio.to_thread(gallery.enrol, actor, vectors(1))

    async def all_at_once(gallery):
        await asyncio.gather(*(serve(gallery, f"user {at}") for at in range(4)))

    with Gallery.open(folder, audit=ON, actor="ada") as gallery:
        asyncio.run(all_at_once(gallery))
        for at in range(4):
            entries = gallery.audit.page(AuditWhere(actor=f"user {at}")).items
            assert [entry.operation for entry in entries] == ["added", "search"]
            assert {entry.via for entry in entries} == {"10.0.0.1"}


@pytest.mark.parametrize(
    ("enabled", "server", "records"), [(None, True, True), (None, False, False), (False, True, False)]
)
def test_a_server_records_unless_it_is_told_not_to(folder, enabled, server, records):
    config = Config(gallery=str(folder), audit=Audit(enabled=enabled))
    with open_gallery(config, create=True, server=server) as gallery:
        assert gallery.audit.enabled is records


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


@pytest.mark.slow
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
