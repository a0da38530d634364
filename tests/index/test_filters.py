"""Filters: exact in each kind of index, and right after every change though they are remembered."""

import sqlite3

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, UnknownIdentity, Where, filters

COUNT = 1500


def described(rand, at):
    return FaceRecord(
        source=f"/{rand.choice(['a', 'b'])}/{at}.jpg",
        time=None if at % 5 == 0 else float(at),
        quality=None if at % 7 == 0 else float(rand.random()),
        collection=None if at % 4 == 0 else f"c{at % 3}",
    )


CASES = [
    (Where(collection="c1"), lambda face: face.collection == "c1"),
    (Where(collection="c"), lambda face: False),
    (Where(quality=0.7), lambda face: face.quality is not None and face.quality >= 0.7),
    (Where(people=("p3", 7)), lambda face: face.name == "p3" or face.identity == 7),
    (Where(people=()), lambda face: False),
    (
        Where(source="/a/", quality=0.2, collection="c2", labelled=True, after=100.0, before=1200.0),
        lambda face: (
            face.source.startswith("/a/")
            and (face.quality or 0) >= 0.2
            and face.collection == "c2"
            and face.identity is not None
            and 100 <= (face.time or 0) < 1200
        ),
    ),
]


def everything(gallery):
    listed = [face for person in gallery.identities() for face in gallery.faces(person.id)] + gallery.faces(None)
    return listed, np.stack([gallery.face(face.id).vector for face in listed])


def check(gallery, probes, exact):
    listed, rows = everything(gallery)
    similarities = probes @ rows.T
    for where, admits in CASES:
        kept = [at for at, face in enumerate(listed) if admits(face)]
        for probe, answer in zip(similarities, gallery.search_faces(probes, 8, where=where), strict=True):
            expected = [listed[at].id for at in sorted(kept, key=lambda at: -probe[at])[:8]]
            numbers = [face.face_id for face in answer]
            assert set(numbers) <= {listed[at].id for at in kept}, where
            assert len(numbers) == len(expected), where
            if exact:
                assert numbers == expected, where


@pytest.mark.parametrize("kind", ["flat", "fp16", "sq8", "pq-sq8", "pq-exact", "rabitq-sq8"])
def test_every_kind_honours_every_filter(folder, rand, kind):
    rows = rand.standard_normal((COUNT, 32)).astype(np.float32)
    probes = rand.standard_normal((4, 32)).astype(np.float32)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    with Gallery.open(folder) as gallery:
        for person in range(10):
            mine = range(person, COUNT // 2, 10)
            gallery.enrol(f"p{person}", rows[mine], [described(rand, at) for at in mine])
        gallery.add_faces(rows[COUNT // 2 :], [described(rand, at) for at in range(COUNT // 2, COUNT)])
        gallery.convert(kind)
        exact = kind in ("flat", "fp16", "sq8")
        check(gallery, probes, exact)
        gallery.remove_faces(rand.choice(np.arange(1, COUNT), 100, replace=False).tolist())
        gallery.merge("p3", "p4")
        gallery.add_faces(rand.standard_normal((50, 32)), [described(rand, at) for at in range(50)])
        with Gallery.open(folder) as other:
            other.enrol("p3", rand.standard_normal((10, 32)), [described(rand, at) for at in range(50, 60)])
        check(gallery, probes, exact)
        match = gallery.search(probes, 3, where=Where(collection="c1"), faces=4)[0][0]
        assert all(face.collection == "c1" for face in match.faces)


def test_a_person_who_is_not_there_cannot_be_searched_for(gallery, vectors):
    gallery.enrol("Ada", vectors(1))
    with pytest.raises(UnknownIdentity, match="nobody named 'Eve'"):
        gallery.search(vectors(1), 1, where=Where(people=("Ada", "Eve")))


def test_a_collection_is_a_name(gallery, vectors):
    with pytest.raises(ValueError, match="face 0 of this call: a collection must have 1 to 200 characters"):
        gallery.enrol("Ada", vectors(1), [FaceRecord(collection=" ")])
    gallery.enrol("Ada", vectors(1), [FaceRecord(collection=" north gate ")])
    (face,) = gallery.faces("Ada")
    assert face.collection == gallery.face(face.id).collection == "north gate"


def test_a_filter_asks_the_database_about_new_faces_only(gallery, vectors, monkeypatch):
    rows = vectors(300)
    gallery.add_faces(rows, [FaceRecord(quality=at / 300) for at in range(300)])
    asked = []
    extended = filters._extended
    monkeypatch.setattr(
        filters, "_extended", lambda connection, where, known: asked.append(known) or extended(connection, where, known)
    )
    where = Where(quality=0.5)
    assert len(gallery.search_faces(rows[:1], 300, where=where)[0]) == 150
    gallery.add_faces(rows[:2], [FaceRecord(quality=0.9), FaceRecord(quality=0.1)])
    assert len(gallery.search_faces(rows[:1], 300, where=where)[0]) == 151
    assert asked[0] is None
    assert len(asked[1]) == 302
    for least in np.linspace(0, 1, 20):
        gallery.search(rows[:1], 1, where=Where(quality=float(least)))
    assert len(gallery._backend.live.filters._admitted) == filters._REMEMBERED
    assert len(gallery._backend.live.filters._masks) == filters._REMEMBERED


def test_a_database_that_was_put_back_is_filtered_anew(folder, vectors, tmp_path):
    rows = vectors(2)
    where = Where(collection="x")
    with Gallery.open(folder) as gallery:
        gallery.add_faces(rows[:1])
        gallery.backup(tmp_path / "before")
        gallery.add_faces(rows[1:], [FaceRecord(collection="x")])
        assert len(gallery.search_faces(rows[1:], 5, where=where)[0]) == 1
        with sqlite3.connect(tmp_path / "before") as before, sqlite3.connect(folder / "gallery.sqlite3") as now:
            before.backup(now)
        before.close()
        now.close()
        gallery.add_faces(rows[1:], [FaceRecord(collection="y")])
        assert gallery.search_faces(rows[1:], 5, where=where) == [[]]
