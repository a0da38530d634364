"""Every kind of index: a damaged, missing or foreign snapshot changes no answer; a deletion shows at once and leaves no
byte; another process sees what was acknowledged in its next search."""

import shutil
import struct
import time

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, kinds

FACES = 1100


def found(gallery, probes):
    return [[(m.identity, m.face_id, m.similarity) for m in row] for row in gallery.search(probes, 5)]


def answers(folder, probes):
    """What a freshly opened gallery answers, and where its index came from."""
    with Gallery.open(folder) as gallery:
        result = found(gallery, probes)
        origin = gallery._backend.live.origin
        gallery.close(snapshot=False)
    return result, origin


QUICK = ("flat", "sq8", "pq-sq8", "rabitq-exact")


@pytest.fixture(params=[kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds.KINDS])
def kind(request):
    return request.param


@pytest.fixture
def filled(folder, kind, vectors):
    with Gallery.open(folder, model="a-model") as gallery:
        gallery.enrol_many([f"p{at % 400}" for at in range(FACES)], vectors(FACES))
        assert gallery.convert(kind) == kind
    return folder


def test_whatever_is_wrong_with_the_snapshot(filled, vectors, rand, tmp_path):
    probes, snapshot = vectors(3), filled / "faces.snapshot"
    whole = snapshot.read_bytes()
    expected, origin = answers(filled, probes)
    assert origin == "snapshot"

    def damaged():
        yield None  # missing
        for size in rand.integers(0, len(whole), 2):
            yield whole[:size]
        yield whole + b"\0"
        for at in [*rand.integers(0, 128, 2), *rand.integers(128, len(whole), 3), len(whole) - 1]:
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(rand.integers(8))
            yield flipped
        yield whole[:8] + struct.pack("<I", 3) + whole[12:]  # a later version
        other = tmp_path / "other"
        with Gallery.open(other, model="another") as gallery:
            gallery.add_faces(vectors(FACES))
            gallery.snapshot()
        yield (other / "faces.snapshot").read_bytes()

    for data in damaged():
        snapshot.unlink(missing_ok=True)
        if data is not None:
            snapshot.write_bytes(data)
        assert answers(filled, probes) == (expected, "database")
    with Gallery.open(filled) as gallery:
        gallery._store._writing.execute("UPDATE gallery SET model = 'another'")
        gallery.close(snapshot=False)
    snapshot.write_bytes(whole)
    assert answers(filled, probes) == (expected, "database")


def test_a_deletion_is_seen_at_once_and_leaves_no_byte(filled, kind, vectors):
    chip = b"\xff\xd8" + b"unmistakable chip " * 50
    with Gallery.open(filled) as gallery, Gallery.open(filled) as other:
        rows = vectors(3)
        gone = gallery.enrol("Persephone Nightingale", rows, [FaceRecord(source="/secret.jpg", chip=chip)] * 3)
        face = gallery.add_faces(rows[:1], [FaceRecord(source="/secret.jpg", chip=chip)])[0]
        stored = [gallery.face(one.id).vector for one in gallery.faces(gone)]
        codes = (
            [row.tobytes() for row in gallery._backend.live._index.encode(np.stack(stored))]
            if gallery._backend.live._index
            else []
        )
        for one in (gallery, other):
            assert one.search(rows[:1], 1)[0][0].identity == gone
        gallery.snapshot()
        gallery.remove_identity(gone)
        gallery.remove_faces([face])
        for one in (gallery, other):
            for at in range(3):
                matches = one.search(rows[at : at + 1], 20)[0]
                assert gone not in [match.identity for match in matches]
                assert face not in [match.face_id for match in matches]
        gallery.compact()
        needles = [b"Persephone", b"/secret.jpg", b"unmistakable", *(row.tobytes() for row in stored)]
        for path in filled.iterdir():
            data = path.read_bytes()
            assert not [needle for needle in needles if needle in data], path
            if kind in ("flat", "fp16", "sq8"):  # whole rows; blocks of a scan interleave theirs
                assert not [code for code in codes if code in data], path
        assert gallery.verify().problems == ()


WRITER = """
import sys, time
from vultus.index import Gallery
with Gallery.open(sys.argv[1]) as gallery:
    print("open", flush=True)
    for line in sys.stdin:
        number = gallery.enrol(line.strip(), [list(map(float, range(1, 17)))])
        print(number, time.time(), flush=True)
"""


def test_another_process_sees_it_within_a_second(filled, python):
    child = python(WRITER, filled)
    assert child.stdout.readline() == "open\n"
    probe = [list(map(float, range(1, 17)))]
    with Gallery.open(filled) as gallery:
        gallery.search(probe, 1)
        slowest = 0.0
        for at in range(5):
            print(f"new {at}", file=child.stdin, flush=True)
            number, acknowledged = child.stdout.readline().split()
            matches = gallery.search(probe, at + 2)[0]
            slowest = max(slowest, time.time() - float(acknowledged))
            assert int(number) in [match.identity for match in matches]
            assert matches[0].similarity == 1.0
        assert slowest < 1
    shutil.rmtree(filled)
