"""From one model to another: resumable, all at once, with everything but the vectors as it was."""

import signal
import time

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, ModelMismatch, Sighting, UnknownFace

CHIP = b"\xff\xd8 a picture"


def vector_of(chip, dim=24):
    return np.random.default_rng(list(chip)).standard_normal(dim).astype(np.float32)


@pytest.fixture
def filled(folder, vectors):
    with Gallery.open(folder, model="old") as gallery:
        for at in range(20):
            records = [FaceRecord(chip=CHIP + bytes([at, face]), source=f"{at}.jpg") for face in range(10)]
            gallery.enrol(f"p{at}", vectors(10), records)
        gallery.add_faces(vectors(5), [FaceRecord(chip=CHIP + bytes([99, face])) for face in range(5)])
        gallery.merge("p0", "p1")
        gallery.add_sighting(Sighting(run="r", source="door", track=1, time=1.0, identity=gallery.identity("p0").id))
        gallery.snapshot()
    return folder


def work(gallery, batch=64):
    """Do what is pending, as one with an embedder does."""
    after = 0
    while faces := gallery.migration.pending(after, batch):
        with_chip = [face for face in faces if face.chip is not None]
        if with_chip:
            gallery.migration.put([face.id for face in with_chip], [vector_of(face.chip) for face in with_chip])
        gallery.migration.lack({face.id: "no picture" for face in faces if face.chip is None})
        after = faces[-1].id


def records(gallery):
    people = gallery.identities()
    return people, [gallery.faces(one.id) for one in people], gallery.faces(None), gallery.sightings()


def test_everything_but_the_vectors_stays(filled, vectors):
    with Gallery.open(filled) as gallery:
        before, probe = records(gallery), vectors(1)
        old = gallery.search(probe, 5)
        assert gallery.migration.state is None
        gallery.migration.start("new", 24)
        work(gallery)
        state = gallery.migration.state
        assert (state.model, state.dim, state.faces, state.done, state.pending) == ("new", 24, 205, 205, 0)
        assert gallery.search(probe, 5) == old
        assert gallery.model == "old"
        assert gallery.migration.finish()
        assert (gallery.model, gallery.dim, gallery.migration.state) == ("new", 24, None)
        best = gallery.search([vector_of(CHIP + bytes([1, 3]))], 1)[0][0]
        assert (best.name, best.similarity) == ("p0", 1.0)
        assert [[face.id for face in faces] for faces in records(gallery)[1]] == [
            [face.id for face in faces] for faces in before[1]
        ]
        assert records(gallery)[0] == before[0]
        assert records(gallery)[3] == before[3]
        assert gallery.verify().problems == ()
    with Gallery.open(filled, model="new") as gallery:
        assert gallery.search([vector_of(CHIP + bytes([1, 3]))], 1)[0][0].similarity == 1.0
        assert gallery._backend.live.origin == "snapshot"
        gallery.migration.start("third", 8)  # the tables are there for the next time
        gallery.migration.abandon()
    with pytest.raises(ModelMismatch, match="holds vectors of the model new, but old was asked for"):
        Gallery.open(filled, model="old")


def test_others_answer_with_the_old_model_until_then_and_are_told(filled, vectors):
    with (
        Gallery.open(filled) as gallery,
        Gallery.open(filled, model="old") as other,
        Gallery.open(filled) as nameless,
    ):
        probe = vectors(1)
        expected = other.search(probe, 3)
        gallery.migration.start("new", 16)  # as many numbers: nothing but the name tells them apart
        work_16 = {}
        while faces := gallery.migration.pending(max(work_16, default=0), 100):
            work_16 |= {face.id: vector_of(face.chip, 16) for face in faces}
            gallery.migration.put(list(work_16), list(work_16.values()))
        late = other.enrol("late", vectors(2), [FaceRecord(chip=CHIP + b"late")] * 2)
        assert not gallery.migration.finish()
        assert other.search(probe, 3) == expected
        gone = gallery.faces("p5")[0].id
        other.remove_faces([gone])
        pending = gallery.migration.pending(0, 100)
        assert len(pending) == 2
        gallery.migration.put([face.id for face in pending] + [gone], [vector_of(CHIP + b"late", 16)] * 3)
        assert gallery.migration.finish()
        for one in (other, nameless):
            with pytest.raises(ModelMismatch, match="has moved from the model old to new; open it again with that"):
                one.search(probe, 3)
            with pytest.raises(ModelMismatch):
                one.enrol("too late", vectors(1))
        assert gallery.search([vector_of(CHIP + b"late", 16)], 1)[0][0].identity == late
        with pytest.raises(UnknownFace):
            gallery.face(gone)
        assert gallery.verify().ok


def test_faces_without_a_vector_keep_the_rest(filled, vectors, tmp_path):
    with Gallery.open(filled) as gallery:
        gallery.enrol("Ada", vectors(3), [FaceRecord(source="a.jpg"), FaceRecord(chip=CHIP), FaceRecord()])
        first = gallery.faces("Ada")[0]
        gallery.migration.start("new", 24)
        work(gallery)
        assert gallery.migration.state.lacking == 2
        assert gallery.migration.finish()
        assert gallery.migration.reasons() == {"no picture": 2}
        assert [face.source for face in gallery.faces("Ada")] == ["a.jpg", "", ""]
        assert gallery.face(first.id).vector is None
        assert gallery.search([vector_of(CHIP)], 1)[0][0].name == "Ada"
        assert gallery.export("Ada", tmp_path / "ada.zip").faces == 3
        assert gallery.verify().problems == ()
    with Gallery.open(filled, model="new") as gallery:
        assert gallery.search([vector_of(CHIP)], 1)[0][0].name == "Ada"
        assert gallery._backend.live.origin == "snapshot"
        gallery.migration.start("third", 24)  # a later model may have what this one lacked
        assert gallery.migration.state.pending == 208
        gallery.migration.put([first.id], [vector_of(b"x")])
        work(gallery)
        gallery.migration.finish()
        assert gallery.face(first.id).vector is not None
        assert gallery.migration.reasons() == {"no picture": 1}
        gallery.remove_identity("Ada")
        assert gallery.verify().ok


def test_what_is_refused(filled, gallery, vectors):
    migration = gallery.migration
    for call in (lambda: migration.put([1], vectors(1)), lambda: migration.lack({1: "x"}), migration.finish):
        with pytest.raises(ValueError, match=r"is on its way to no other model; `start` comes first"):
            call()
    with pytest.raises(ModelMismatch, match="holds vectors of the model old already"):
        migration.start("old", 24)
    migration.start("new", 24)
    migration.start("new", 24)
    with pytest.raises(ModelMismatch, match="is on its way to the model new; finish that, or abandon it"):
        migration.start("third", 24)
    with pytest.raises(ValueError, match="24"):
        migration.put([1], vectors(1, 16))
    with pytest.raises(ValueError, match="each needs one"):
        migration.put([1, 2], vectors(1, 24))
    migration.abandon()
    assert migration.state is None


def test_under_a_key(filled):
    key = bytes(range(32))
    with Gallery.open(filled) as gallery:
        gallery.migration.start("new", 24)
        face = gallery.migration.pending(0, 1)[0]
        gallery.migration.put([face.id], [vector_of(face.chip)])
        gallery.set_key(key)
        work(gallery)
        assert gallery.migration.finish()
        assert gallery.search([vector_of(face.chip)], 1)[0][0].face_id == face.id
        assert gallery.verify().ok
        stored = gallery.face(face.id).vector.tobytes()
    assert not [path for path in filled.iterdir() if stored in path.read_bytes()]


WORKER = """
import sys
import numpy as np
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
if gallery.model == "new":
    print("done", flush=True)
    sys.exit()
gallery.migration.start("new", 24)
print("started", flush=True)
after = 0
while faces := gallery.migration.pending(after, 4):
    rows = [np.random.default_rng(list(face.chip)).standard_normal(24) for face in faces]
    gallery.migration.put([face.id for face in faces], rows)
    after = faces[-1].id
gallery.migration.finish()
print("done", flush=True)
"""


def test_kill_at_random_moments(filled, python, rand, vectors):
    probe, done, settled = vectors(1), False, 0
    with Gallery.open(filled) as gallery:
        expected = gallery.search(probe, 5)
    for _ in range(40):
        child = python(WORKER, filled)
        if child.stdout.readline() == "done\n":
            break
        time.sleep(rand.uniform(0.0, 0.15))  # the random moment
        child.send_signal(signal.SIGKILL)
        done = child.stdout.read() == "done\n" or done
        child.wait()
        with Gallery.open(filled) as gallery:
            if gallery.model == "old":
                assert not done
                assert gallery.search(probe, 5) == expected
                state = gallery.migration.state
                assert state.done >= settled
                settled = state.done
            gallery.close(snapshot=False)
    with Gallery.open(filled, model="new") as gallery:
        assert gallery.search([vector_of(CHIP + bytes([7, 7]))], 1)[0][0].name == "p7"
    with Gallery.open(filled) as gallery:  # a kill behind the swap leaves the old snapshot, which closing replaces
        assert gallery.verify().problems == ()
