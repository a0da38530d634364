"""kill -9 at any moment loses nothing that was acknowledged.

1. A child works on the gallery and prints a line after each call that returned.
2. The parent kills it at a random moment.
3. The parent reopens the gallery: all that was acknowledged is there (or gone, if deleted), and verify finds nothing.
4. The next child goes on in the same gallery.
"""

import signal
import time

import numpy as np
import pytest

from vultus.index import Gallery

CHILD = """
import sys
import numpy as np
from vultus.index import FaceRecord, FileRecord, Gallery
rand = np.random.default_rng(int(sys.argv[2]))
gallery = Gallery.open(sys.argv[1], model="m")
print("open", flush=True)
run = sys.argv[2]
for at in range(10**9):
    faces = gallery.add_faces(rand.standard_normal((int(rand.integers(1, 30)), 32)), None)
    print("added", *faces, flush=True)
    size = int(rand.integers(0, 20))
    gallery.commit_file(
        FileRecord(source=f"{run}/{at % 5}", size=at, mtime_ns=1),
        rand.standard_normal((size, 32)),
        [FaceRecord(chip=bytes(200))] * size,
        label="somebody",
    )
    print("file", f"{run}/{at % 5}", at, size, flush=True)
    if at % 3 == 0:
        print("removing", faces[0], flush=True)
        gallery.remove_faces(faces[:1])
        print("removed", faces[0], flush=True)
    if at % 4 == 0:
        gallery.search(rand.standard_normal((1, 32)), 3)
        gallery.snapshot()
        print("snapshot", flush=True)
"""


def run(folder, python, rand, rounds):
    there, maybe, files = set(), set(), {}
    for number in range(rounds):
        child = python(CHILD, folder, f"{rand.integers(1 << 31)}")
        assert child.stdout.readline() == "open\n"
        time.sleep(rand.uniform(0.0, 0.25))  # not a wait for anything: the random moment
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().split("\n")
        child.wait()
        for line in lines[:-1]:  # the last one may be cut
            word, *rest = line.split()
            if word == "added":
                there |= set(map(int, rest))
            elif word == "removing":
                maybe.add(int(rest[0]))
                there.discard(int(rest[0]))
            elif word == "removed":
                maybe.discard(int(rest[0]))
            elif word == "file":
                files[rest[0]] = int(rest[1]), int(rest[2])
        with Gallery.open(folder, create=False) as gallery:
            assert gallery.verify().problems == (), f"round {number}"
            unlabelled = {face.id for face in gallery.faces(None)}
            assert there <= unlabelled, f"round {number}"
            known = gallery.known_files()
            for source, (size, faces) in files.items():
                if known[source].size == size:  # a later commit of it may have come through unacknowledged
                    assert known[source].faces == faces
                else:
                    assert known[source].size > size
            stored = {}
            for face in gallery.faces("somebody") if gallery.identities() else []:
                stored[face.source] = stored.get(face.source, 0) + 1
            assert stored == {source: entry.faces for source, entry in known.items() if entry.faces}
            probe = np.ones((1, 32))
            best = gallery.search(probe, 5)
            gallery.close(snapshot=False)
        (folder / "faces.snapshot").unlink(missing_ok=True) if rand.random() < 0.3 else None
        with Gallery.open(folder, create=False) as gallery:
            assert gallery.search(probe, 5) == best
            gallery.close(snapshot=False)
    assert there or rounds == 1


def test_kill_at_random_moments(folder, python, rand):
    run(folder, python, rand, 5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_at_many_random_moments(folder, python, rand):
    run(folder, python, rand, 60)


@pytest.mark.slow
def test_kill_while_the_gallery_is_made(tmp_path, python, rand):
    source = (
        "import sys; from vultus.index import Gallery; print(1, flush=True);"
        "Gallery.open(sys.argv[1], 'm').enrol('A', [[1.0]])"
    )
    for number in range(6):
        folder = tmp_path / str(number)
        child = python(source, folder)
        child.stdout.readline()
        time.sleep(rand.uniform(0.0, 0.02))  # the random moment
        child.kill()
        child.wait()
        with Gallery.open(folder) as gallery:
            assert gallery.verify().problems == ()
            assert [person.name for person in gallery.identities()] in ([], ["A"])
