import unicodedata

import numpy as np
import pytest

from vultus.index import FaceRecord, GalleryError, NameTaken, UnknownFace, UnknownIdentity


def names(gallery):
    return {person.name: person.faces for person in gallery.identities()}


def test_enrol_adds_to_the_person_of_that_name(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(2))
    assert gallery.enrol("  Ada\n", vectors(1)) == ada
    bob = gallery.enrol("Bob", vectors(1))
    assert names(gallery) == {"Ada": 3, "Bob": 1}
    assert gallery.identity("Ada") == gallery.identity(ada)
    assert gallery.identity(bob).name == "Bob"


def test_names_are_compared_in_one_unicode_form(gallery, vectors):
    composed = unicodedata.normalize("NFC", "Renée Zoë")
    number = gallery.enrol(unicodedata.normalize("NFD", composed), vectors(1))
    assert gallery.enrol(composed, vectors(1)) == number
    assert gallery.identity(number).name == composed


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "a\x7fb", "a\u2028b", "\ud800", "x" * 201])
def test_impossible_names_are_refused(gallery, vectors, name):
    with pytest.raises(ValueError, match="name"):
        gallery.enrol(name, vectors(1))
    with pytest.raises(ValueError, match="name"):
        gallery.enrol_many(["fine", name], vectors(2))
    assert gallery.identities() == []


def test_long_names_and_joiners_are_fine(gallery, vectors):
    for name in ("é" * 200, "علی‌رضا", "👩‍👩‍👧"):
        assert gallery.identity(gallery.enrol(name, vectors(1))).name == name


def test_enrol_many_makes_people_as_needed(gallery, vectors):
    bob = gallery.enrol("Bob", vectors(1))
    numbers = gallery.enrol_many(["Ada", "Bob", "Ada", "Cyd"], vectors(4))
    assert numbers[1] == bob
    assert numbers[0] == numbers[2]
    assert names(gallery) == {"Ada": 2, "Bob": 2, "Cyd": 1}
    assert gallery.enrol_many([], []) == []


def test_counts_must_agree(gallery, vectors):
    with pytest.raises(ValueError, match="2 names were given for 3 vectors"):
        gallery.enrol_many(["a", "b"], vectors(3))
    with pytest.raises(ValueError, match="1 face records were given for 2 vectors"):
        gallery.enrol("a", vectors(2), [FaceRecord()])
    with pytest.raises(ValueError, match="without a vector"):
        gallery.enrol("a", [])
    assert gallery.stats().faces == 0


def test_everything_known_of_a_face_comes_back(gallery, vectors):
    record = FaceRecord(
        source="/photos/été.jpg",
        position=1.5,
        time=1.7e9,
        box=(np.float32(1), 2, 30.25, 40),
        landmarks=((1, 2), (3, 4), (5, 6), (7, 8), (9.5, 10)),
        score=0.9,
        quality=0.5,
        track=3,
        chip=b"\xff\xd8 jpeg",
    )
    given = vectors(2)
    ada = gallery.enrol("Ada", given, [record, FaceRecord()])
    first, second = gallery.faces(ada)
    assert (first.vector, first.chip) == (None, None)
    face = gallery.face(first.id)
    assert (face.identity, face.name, face.chip) == (ada, "Ada", record.chip)
    for field in ("source", "position", "time", "box", "landmarks", "score", "quality", "track"):
        assert getattr(face, field) == getattr(record, field) == getattr(first, field)
    np.testing.assert_allclose(face.vector, given[0] / np.linalg.norm(given[0]), atol=1e-6)
    assert second.box is None
    assert second.landmarks is None
    assert gallery.face(second.id).chip is None


@pytest.mark.parametrize(
    "record",
    [
        FaceRecord(box=(1, 2, 3)),
        FaceRecord(box=(1, 2, 3, float("nan"))),
        FaceRecord(landmarks=((1, 2),)),
        FaceRecord(time=float("inf")),
        FaceRecord(chip="text"),
        FaceRecord(chip=b"x" * (1 << 20) + b"x"),
        FaceRecord(score="high"),
    ],
)
def test_a_bad_record_is_named_and_nothing_is_kept(gallery, vectors, record):
    with pytest.raises(ValueError, match="face 1 of this call"):
        gallery.add_faces(vectors(2), [FaceRecord(), record])
    assert gallery.stats().faces == 0
    assert gallery.add_faces(vectors(1)) == [1]


def test_add_faces_of_somebody_and_of_nobody(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(1))
    (mine,) = gallery.add_faces(vectors(1), identity=ada)
    (also,) = gallery.add_faces(vectors(1), identity="Ada")
    strangers = gallery.add_faces(vectors(2), [FaceRecord(source="door"), FaceRecord(source="gate")])
    assert [face.id for face in gallery.faces("Ada")][1:] == [mine, also]
    assert [(face.id, face.source) for face in gallery.faces(None)] == list(
        zip(strangers, ["door", "gate"], strict=True)
    )
    with pytest.raises(UnknownIdentity):
        gallery.add_faces(vectors(1), identity=ada + 1)
    assert gallery.add_faces([]) == []


def test_rename(gallery, vectors):
    ada, bob = gallery.enrol_many(["Ada", "Bob"], vectors(2))
    gallery.rename(ada, " Ada Lovelace ")
    gallery.rename("Bob", "Bob")
    assert gallery.identity(ada).name == "Ada Lovelace"
    with pytest.raises(NameTaken, match=f"merge {bob} into {ada}"):
        gallery.rename(bob, "Ada Lovelace")
    with pytest.raises(UnknownIdentity):
        gallery.rename("Ada", "Eve")


def test_merge(gallery, vectors):
    ada, bob, cyd = gallery.enrol_many(["Ada", "Bob", "Cyd"], vectors(3))
    gallery.merge(ada, "Bob")
    gallery.merge("Cyd", ada)
    assert names(gallery) == {"Cyd": 3}
    assert {match.identity for match in gallery.search(vectors(1), 5)[0]} == {cyd}
    with pytest.raises(ValueError, match="same person"):
        gallery.merge(cyd, "Cyd")
    with pytest.raises(UnknownIdentity):
        gallery.merge(cyd, bob)


def test_removing_people_and_faces(gallery, vectors):
    given = vectors(6)
    ada = gallery.enrol("Ada", given[:3])
    bob = gallery.enrol("Bob", given[3:])
    first, second, _ = (face.id for face in gallery.faces(ada))
    with pytest.raises(UnknownFace, match="face 99 is not in the gallery"):
        gallery.remove_faces([first, 99])
    gallery.remove_faces([second, second])
    assert gallery.identity(ada).faces == 2
    assert gallery.search(given[1:2], 1)[0][0].similarity < 1
    gallery.remove_identity("Ada")
    with pytest.raises(UnknownFace):
        gallery.face(first)
    with pytest.raises(UnknownIdentity):
        gallery.faces(ada)
    assert {match.identity for match in gallery.search(given, 9)[0]} == {bob}
    assert gallery.enrol("Ada", given[:1]) not in (ada, bob)
    gallery.remove_faces([])


def test_a_person_whose_last_face_went_stays(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(1))
    gallery.remove_faces([gallery.faces(ada)[0].id])
    assert names(gallery) == {"Ada": 0}
    assert gallery.search(vectors(1), 1) == [[]]
    assert gallery.enrol("Ada", vectors(1)) == ada


def test_errors_read_like_sentences(gallery):
    for call in (lambda: gallery.identity("Nobody"), lambda: gallery.face(7), lambda: gallery.remove_identity(3)):
        with pytest.raises(GalleryError) as caught:
            call()
        assert isinstance(caught.value, KeyError)
        assert str(caught.value).endswith("in the gallery")
