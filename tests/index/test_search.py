import itertools

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, Where
from vultus.index.vectors import NOBODY, VectorIndex


def found(gallery, probes, k, **options):
    return [[(m.identity, m.face_id, m.similarity) for m in row] for row in gallery.search(probes, k, **options)]


def fill(gallery, rand, rows, people):
    """Enrol rows under random names or none; returns faces and their people."""
    names = [None if rand.random() < 0.3 else f"person {rand.integers(people)}" for _ in rows]
    faces, owners = [], []
    for name, row in zip(names, rows, strict=True):
        if name is None:
            faces += gallery.add_faces(row[None])
            owners.append(None)
        else:
            owners.append(gallery.enrol(name, row[None]))
            faces.append(gallery.faces(name)[-1].id)
    return faces, owners


@pytest.mark.parametrize("k", [1, 3, 40, 1000])
def test_search_is_a_full_sort(gallery, rand, vectors, answer, k):
    rows, probes = vectors(150, 8), vectors(25, 8)
    faces, owners = fill(gallery, rand, rows, 20)
    assert found(gallery, probes, k) == answer(probes, faces, owners, rows, k)


def test_ties_go_to_the_older_face_at_any_k(gallery, rand, vectors, answer):
    rows = np.repeat(vectors(6, 8), 40, axis=0)
    rand.shuffle(rows)
    faces, owners = fill(gallery, rand, rows, 30)
    for k in (1, 2, 7, 50, 500):
        assert found(gallery, rows[:30], k) == answer(rows[:30], faces, owners, rows, k)


def test_one_person_with_ten_thousand_near_duplicates_hides_nobody(gallery, rand, answer):
    centre = rand.standard_normal(16)
    crowd = centre + 0.01 * rand.standard_normal((10_000, 16))
    others = centre + 0.5 * rand.standard_normal((60, 16))
    gallery.enrol("Crowd", crowd)
    numbers = gallery.enrol_many([f"other {at}" for at in range(60)], others)
    rows = np.concatenate((crowd, others))
    people = [gallery.identity("Crowd").id] * 10_000 + numbers
    probes = np.stack((centre, others[3]))
    assert found(gallery, probes, 12) == answer(probes, list(range(1, 10_061)), people, rows, 12)
    assert len(gallery.search(probes[:1], 100)[0]) == 61


def test_an_answer_does_not_depend_on_its_batch(gallery, rand, vectors):
    rows, probes = vectors(3000, 64), vectors(64, 64)
    gallery.enrol_many([f"p{at % 700}" for at in range(len(rows))], rows)
    together = found(gallery, probes, 5)
    assert together == [found(gallery, probe[None], 5)[0] for probe in probes]


def test_an_answer_does_not_depend_on_how_the_index_came_to_be(folder, rand, vectors):
    rows, probes = vectors(2000, 24), vectors(8, 24)
    with Gallery.open(folder) as gallery:
        gallery.add_faces(rows)
        gallery.search(probes, 1)
        gallery.remove_faces(rand.choice(2000, 700, replace=False) + 1)
        moved = found(gallery, probes, 30)
        gallery.snapshot()
        gallery.close(snapshot=False)
    with Gallery.open(folder) as gallery:
        assert found(gallery, probes, 30) == moved
        (folder / "faces.snapshot").unlink()
    with Gallery.open(folder) as gallery:
        assert found(gallery, probes, 30) == moved


def test_threshold_keeps_what_reaches_it(gallery, vectors):
    rows = vectors(400, 8)
    gallery.enrol_many([f"p{at}" for at in range(400)], rows)
    everything = found(gallery, rows[:1], 400)[0]
    limit = everything[17][2]
    assert found(gallery, rows[:1], 400, threshold=limit)[0] == everything[:18]
    assert found(gallery, rows[:1], 5, threshold=limit)[0] == everything[:5]
    assert found(gallery, -rows[:1], 400, threshold=1.0) == [[]]


def test_matches_tell_where_the_best_face_was_seen(gallery, vectors):
    rows = vectors(3)
    record = FaceRecord(source="a.mp4", position=2.5, time=100.0, box=(1, 2, 3, 4))
    gallery.enrol("Ada", rows[:2], [FaceRecord(source="b.jpg"), record])
    gallery.add_faces(rows[2:], [FaceRecord(source="c.jpg")])
    (best,) = gallery.search(rows[1:2], 1)[0]
    assert (best.name, best.source, best.position, best.time, best.box) == ("Ada", "a.mp4", 2.5, 100.0, (1, 2, 3, 4))
    assert best.similarity == pytest.approx(1.0, abs=1e-6)
    (stranger,) = gallery.search(rows[2:], 1)[0]
    assert (stranger.identity, stranger.name, stranger.source) == (None, None, "c.jpg")


def test_filters(gallery, rand, vectors, answer):
    rows, probes = vectors(300, 8), vectors(9, 8)
    sources = [f"/photos/{rand.choice(['a', 'ab', 'b'])}/{at}.jpg" for at in range(300)]
    times = [None if at % 5 == 0 else float(at) for at in range(300)]
    owners = [None if at % 3 else gallery.enrol(f"p{at % 12}", rows[at : at + 1]) for at in range(300)]
    for face in range(1, gallery.stats().faces + 1):
        gallery.remove_faces([face])
    faces = [
        gallery.add_faces(row[None], [FaceRecord(source=source, time=time)], owner)[0]
        for row, source, time, owner in zip(rows, sources, times, owners, strict=True)
    ]
    cases = {
        Where(): lambda at: True,
        Where(labelled=True): lambda at: owners[at] is not None,
        Where(labelled=False): lambda at: owners[at] is None,
        Where(source="/photos/a/"): lambda at: sources[at].startswith("/photos/a/"),
        Where(source="/photos/a"): lambda at: sources[at].startswith("/photos/a"),
        Where(source="/photos/%"): lambda at: False,
        Where(after=100.0, before=200.0): lambda at: times[at] is not None and 100 <= times[at] < 200,
        Where(labelled=True, source="/photos/b", after=3): lambda at: (
            owners[at] is not None and sources[at].startswith("/photos/b") and times[at] is not None and times[at] >= 3
        ),
    }
    for where, admits in cases.items():
        kept = [at for at in range(300) if admits(at)]
        expected = answer(probes, [faces[at] for at in kept], [owners[at] for at in kept], rows[kept], 6)
        assert found(gallery, probes, 6, where=where) == expected, where


def test_empty_and_impossible_searches(gallery, vectors):
    assert gallery.search(vectors(2, 5), 3) == [[], []]
    assert gallery.search([], 3) == []
    gallery.enrol("Ada", vectors(1, 5))
    assert gallery.search([], 3) == []
    assert gallery.search(vectors(1, 5), 3, where=Where(labelled=False)) == [[]]
    with pytest.raises(ValueError, match="k is how many"):
        gallery.search(vectors(1, 5), 0)
    with pytest.raises(ValueError, match="probes have 6 numbers each, but this gallery's have 5"):
        gallery.search(vectors(1, 6), 1)
    with pytest.raises(ValueError, match="row 1 of probes is all zeros"):
        gallery.search([[1, 2, 3, 4, 5], [0, 0, 0, 0, 0]], 1)


def test_rows_fill_the_gaps_and_keep_their_faces(rand):
    index, truth = VectorIndex(4), {}
    for step in range(1, 60):
        faces = np.arange(step * 100, step * 100 + rand.integers(1, 30))
        rows = rand.standard_normal((len(faces), 4)).astype(np.float32)
        people = rand.integers(NOBODY, 5, len(faces))
        index.add(faces, people, rows)
        truth |= {face: (person, row) for face, person, row in zip(faces.tolist(), people, rows, strict=True)}
        gone = rand.random(len(index)) < rand.choice([0.0, 0.2, 0.9, 1.0])
        for face in index.faces[gone].tolist():
            del truth[face]
        index.remove(gone)
        assert sorted(index.faces.tolist()) == sorted(truth)
        for at, face in enumerate(index.faces.tolist()):
            assert index.people[at] == truth[face][0]
            np.testing.assert_array_equal(index.rows[at], truth[face][1])


def test_out_of_memory_while_following_reloads(folder, vectors, monkeypatch):
    from vultus.index import live

    with Gallery.open(folder) as gallery:
        gallery.enrol_many(["A", "B"], vectors(2))
        probe = vectors(1)
        gallery.search(probe, 1)
        gallery.enrol("C", probe)
        calls = []

        def exhausted(*_):
            calls.append(1)
            raise MemoryError

        monkeypatch.setattr(live, "apply", exhausted)
        ((match, *_),) = gallery.search(probe, 1)
        assert (match.name, len(calls)) == ("C", 1)
        assert gallery.verify().ok


def test_the_faces_that_spoke_are_the_best_of_the_person(gallery, rand, vectors):
    rows, probes = vectors(120, 8), vectors(5, 8)
    records = [FaceRecord(source=f"{'left' if at % 2 else 'right'}/{at}", quality=at / 120) for at in range(120)]
    for person in range(6):
        gallery.enrol(f"p{person}", rows[person::6], records[person::6])
    gallery.add_faces(vectors(3, 8))
    for where, start in ((None, ""), (Where(source="left/"), "left/")):
        for probe, answer in zip(probes, gallery.search(probes, 9, where=where, faces=4), strict=True):
            for match in answer:
                if match.identity is None:
                    assert [face.face_id for face in match.faces] == [match.face_id]
                    continue
                everything = gallery.search_faces(probe[None], 120, where=where)[0]
                mine = [face for face in everything if face.identity == match.identity]
                assert list(match.faces) == mine[:4]
                assert match.faces[0].similarity == match.similarity
                assert match.faces[0].face_id == match.face_id
                assert all(face.source.startswith(start) for face in match.faces)
    (answer,) = gallery.search(probes[:1], 2)
    assert [len(match.faces) for match in answer] == [1, 1]
    with pytest.raises(ValueError, match="how many may speak for a person, 1 to 100, not 0"):
        gallery.search(probes, 1, faces=0)


@pytest.mark.parametrize("kind", ["flat", "pq-sq8"])
def test_the_margin_is_to_the_next_person_whatever_k_and_threshold(folder, rand, vectors, kind):
    rows, probes = vectors(1200, 8), vectors(10, 8)
    with Gallery.open(folder) as gallery:
        gallery.enrol_many([f"p{at % 60}" for at in range(1200)], rows)
        gallery.convert(kind)
        for probe in probes:
            full = gallery.search(probe[None], 60)[0]
            assert full[-1].margin is None
            for one, other in itertools.pairwise(full):
                assert one.margin == one.similarity - other.similarity
            for k in (1, 2, 7):
                assert [match.margin for match in gallery.search(probe[None], k)[0]] == [m.margin for m in full[:k]]
            limit = full[3].similarity
            (answer,) = gallery.search(probe[None], 60, threshold=limit)
            assert [match.margin for match in answer] == [match.margin for match in full[:4]]
            assert gallery.search(probe[None], 60, threshold=1.0) == [[]]


def test_the_margin_passes_over_faces_of_nobody(gallery):
    gallery.enrol_many(["Ada", "Bob"], [[1, 0, 0.1], [0, 1, 0.1]])
    gallery.add_faces([[0.9, 0.5, 0]])
    first, nobody, last = gallery.search([[1, 0.1, 0]], 3)[0]
    assert (first.name, nobody.name, last.name) == ("Ada", None, "Bob")
    assert first.margin == first.similarity - last.similarity
    assert nobody.margin == nobody.similarity - last.similarity
    assert last.margin is None
    assert gallery.search([[1, 0.1, 0]], 1)[0][0].margin is None, "the next one is a face of nobody"


@pytest.mark.parametrize("k", [1, 4, 50])
def test_faces_are_ranked_whose_ever_they_are(gallery, rand, vectors, k):
    rows, probes = vectors(150, 8), vectors(20, 8)
    faces, owners = fill(gallery, rand, rows, 4)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (probes, rows)]
    for row, answer in zip(unit[0] @ unit[1].T, gallery.search_faces(probes, k), strict=True):
        best = np.argsort(-row)[:k]
        assert [(face.face_id, face.identity) for face in answer] == [(faces[at], owners[at]) for at in best]
        assert [face.similarity for face in answer] == pytest.approx(row[best].tolist(), abs=1e-6)
