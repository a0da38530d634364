"""Several processes and several threads on one gallery."""

import os
import threading
import time

import numpy as np
import pytest

from vultus.index import Gallery, GalleryBusy, GalleryClosed, GalleryError

OTHER = """
import sys
import numpy as np
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
gallery.close()
"""


@pytest.fixture
def other(folder, python):
    """Another process with the gallery open; calling it runs a line there."""
    child = python(OTHER, folder)
    assert child.stdout.readline() == "open\n"

    def run(line):
        print(line, file=child.stdin, flush=True)
        assert child.stdout.readline() == "done\n"

    run.child = child
    return run


def people(gallery, probe):
    return [match.name for match in gallery.search(probe, 10)[0]]


def test_what_another_process_commits_is_in_the_next_search(gallery, other):
    probe = np.eye(8)[:1]
    gallery.enrol("Ada", probe)
    assert people(gallery, probe) == ["Ada"]
    other("gallery.enrol('Bob', np.eye(8)[1:2])")
    assert people(gallery, probe) == ["Ada", "Bob"]
    other("gallery.rename('Bob', 'Rob')")
    assert people(gallery, probe) == ["Ada", "Rob"]
    other("gallery.merge('Rob', 'Ada')")
    assert people(gallery, probe) == ["Rob"]
    other("gallery.add_faces(np.eye(8)[2:5])")
    assert people(gallery, probe) == ["Rob", None, None, None]
    other("gallery.remove_faces([3, 5])")
    assert people(gallery, probe) == ["Rob", None]
    other("gallery.remove_identity('Rob')")
    assert people(gallery, probe) == [None]
    other("gallery.snapshot()")
    assert gallery.verify().ok


WRITER = """
import sys
import numpy as np
from vultus.index import Gallery
rand = np.random.default_rng(int(sys.argv[2]))
with Gallery.open(sys.argv[1]) as gallery:
    for at in range(70):
        gallery.enrol(f"{sys.argv[2]}-{at % 7}", rand.standard_normal((3, 8)))
        gallery.search(rand.standard_normal((1, 8)), 3)
    gallery.remove_identity(f"{sys.argv[2]}-0")
    gallery.merge(f"{sys.argv[2]}-1", f"{sys.argv[2]}-2")
"""


@pytest.mark.slow
def test_processes_that_open_a_new_gallery_and_write_at_once(folder, python):
    children = [python(WRITER, folder, number) for number in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    with Gallery.open(folder, create=False) as gallery:
        expected = {f"{writer}-{at}": 60 if at == 1 else 30 for writer in range(4) for at in (1, 3, 4, 5, 6)}
        assert {person.name: person.faces for person in gallery.identities()} == expected
        assert gallery.verify().problems == ()


@pytest.mark.slow
def test_a_busy_gallery_says_who_holds_it(folder, python, vectors):
    other = python(
        "import sys; from vultus.index import Gallery; gallery = Gallery.open(sys.argv[1]);"
        "gallery.enrol('Ada', [[1.0, 2.0]]); held = gallery._store.frozen(); held.__enter__(); print('held', flush=True);"
        "sys.stdin.read()",
        folder,
    )
    assert other.stdout.readline() == "held\n"
    with Gallery.open(folder, busy_timeout=0.2) as gallery:
        assert people(gallery, [[1.0, 2.0]]) == ["Ada"]
        with pytest.raises(
            GalleryBusy,
            match=rf"is busy, nothing was written: process {other.pid} \(-c\) on .* has been writing since \d{{4}}-",
        ) as caught:
            gallery.enrol("Bob", [[1.0, 2.0]])
        assert isinstance(caught.value, TimeoutError)
        other.stdin.close()
        other.wait(10)
        gallery.enrol("Bob", [[1.0, 2.0]])


def test_a_fork_must_open_the_gallery_again(folder, gallery, vectors):
    gallery.enrol("Ada", vectors(1))
    gallery.search(vectors(1), 1)
    child = os.fork()
    if not child:
        code = 1
        try:
            gallery.search(vectors(1), 1)
        except GalleryClosed as error:
            code = 0 if "open it again in the child" in str(error) else 2
        gallery.close()
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    gallery.enrol("Bob", vectors(1))
    assert gallery.verify().ok


@pytest.mark.slow
def test_threads_read_write_and_delete_at_once(gallery, rand):
    """Each thread owns a name: what it has deleted is gone from its next search, what it has enrolled is there."""
    errors, axes = [], np.eye(16, dtype=np.float32)
    gallery.enrol("everybody", axes)

    def work(me):
        try:
            for _ in range(25):
                number = gallery.enrol(f"thread {me}", axes[me : me + 1])
                best = gallery.search(axes[me : me + 1], 2)[0]
                assert number in [match.identity for match in best]
                gallery.remove_identity(number)
                best = gallery.search(axes[me : me + 1], 20)[0]
                assert number not in [match.identity for match in best]
                gallery.merge("everybody", gallery.enrol(f"thread {me}", axes[me : me + 1]))
        except Exception as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert gallery.identity("everybody").faces == 16 + 6 * 25
    assert gallery.verify().problems == ()


def test_a_search_does_not_wait_for_another_process_that_writes(folder, other, gallery):
    gallery.enrol("Ada", [[1.0, 2.0]])
    other("held = gallery._store.frozen(); held.__enter__()")
    begun = time.monotonic()
    assert people(gallery, [[1.0, 2.0]]) == ["Ada"]
    assert time.monotonic() - begun < 5  # a write would wait for 10, and then fail


def test_closing_while_others_search(folder, vectors):
    gallery = Gallery.open(folder)
    gallery.add_faces(vectors(5000))
    started, outcomes = threading.Barrier(4), []

    def work():
        started.wait()
        try:
            while True:
                gallery.search(vectors(4), 3)
        except GalleryError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    gallery.search(vectors(1), 1)
    gallery.close()
    for thread in threads:
        thread.join()
    assert outcomes == [GalleryClosed] * 3
    with Gallery.open(folder) as gallery:
        assert gallery.verify().ok


def test_opening_it_twice_gives_no_lock_back(folder, gallery, other, vectors):
    """A lock that was lost shows when another process closes: it would take itself for the last one and drop the log."""
    gallery.enrol("Ada", vectors(1))
    Gallery.open(folder).close()
    other("gallery.enrol('Bea', np.ones((1, gallery.dim))); gallery.close()")
    assert (folder / "gallery.sqlite3-wal").exists()
    gallery.enrol("Cleo", vectors(1))
    assert gallery.verify().ok
