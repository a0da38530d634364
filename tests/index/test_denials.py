"""Negative examples: who is no answer, against the definition computed face by face; and that nothing loses them."""

import numpy as np
import pytest

from vultus.index import Denied, Gallery, UnknownDenial, UnknownFace, UnknownIdentity, Where, journal
from vultus.index.storage import Writer


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def defined(probe, faces, denied, others, k):
    """The definition of docs/gallery.md: `faces` are (number, person or none, vector)."""
    near = {number: float(unit(vector) @ unit(probe)) for number, _, vector in faces}
    best = {}
    for number, person, _ in faces:
        if person is not None:
            best[person] = max(best.get(person, -2), near[number])
    answers = [(near[number], None, number) for number, person, _ in faces if person is None]
    for person, similarity in best.items():
        if any(near[face] >= similarity for face in denied.get(person, ())):
            continue
        if any(best.get(other, -2) > similarity for other in others.get(person, ())):
            continue
        answers.append((similarity, person, None))
    answers.sort(key=lambda answer: -answer[0])
    return [(person, number) for _, person, number in answers[:k]]


def found(gallery, probes, k, **options):
    return [
        [(match.identity, None if match.identity else match.face_id) for match in answer]
        for answer in gallery.search(probes, k, **options)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "sq8", "pq-sq8"])
def test_a_refused_person_makes_room_for_the_next(folder, rand, kind):
    centre = rand.standard_normal(16)
    rows = centre + rand.standard_normal((1200, 16))
    with Gallery.open(folder) as gallery:
        owners = gallery.enrol_many([f"p{at % 97}" for at in range(1000)], rows[:1000])
        gallery.add_faces(rows[1000:])
        numbers = owners[:97]
        faces = [(at + 1, owners[at] if at < 1000 else None, row) for at, row in enumerate(rows)]
        gallery.convert(kind)
        denied, others = {}, {}
        for person in numbers[:60]:
            face, owner, _ = faces[rand.integers(len(faces))]
            if owner != person:
                gallery.deny(person, face=face)
                denied.setdefault(person, []).append(face)
        for one, other in zip(numbers[:40], numbers[40:80], strict=True):
            gallery.deny(one, other=other)
            others.setdefault(one, []).append(other)
            others.setdefault(other, []).append(one)
        probes = unit(centre + rand.standard_normal((30, 16)))
        expected = [defined(probe, faces, denied, others, 12) for probe in probes]
        same = np.mean([a == b for a, b in zip(found(gallery, probes, 12), expected, strict=True)])
        assert same >= (0.9 if kind == "pq-sq8" else 1.0)
        plain = [defined(probe, faces, {}, {}, 12) for probe in probes]
        assert sum(a != b for a, b in zip(plain, expected, strict=True)) > 10, "the denials change nothing"
        if kind == "flat":
            assert found(gallery, probes, 5) == [row[:5] for row in expected]
            for probe, answer in zip(probes, gallery.search_faces(probes, 1200), strict=True):
                shown = {face.identity for face in answer} - {None}
                assert shown == {person for person, _ in defined(probe, faces, denied, others, 1200)} - {None}


def test_a_denied_face_is_not_found_as_the_person(gallery, rand):
    ada, twin = rand.standard_normal((2, 16))
    twin = ada + 0.2 * twin
    person = gallery.enrol("Ada", [ada])
    (face,) = gallery.add_faces([twin])
    assert [match.name for match in gallery.search([twin], 2)[0]] == [None, "Ada"]
    gallery.deny("Ada", face=face)
    assert [match.name for match in gallery.search([twin], 2)[0]] == [None]
    assert gallery.search([twin], 2, where=Where(labelled=True)) == [[]]
    assert gallery.search([twin], 2, threshold=0.5, where=Where(labelled=True)) == [[]]
    assert [face.name for face in gallery.search_faces([twin], 2)[0]] == [None]
    assert [match.name for match in gallery.search([ada], 2)[0]] == ["Ada", None], "nearer to her own face"
    with Gallery.open(gallery.path) as other:
        assert other.search([twin], 2, where=Where(labelled=True)) == [[]]
        other.allow(person, face=face)
    assert [match.name for match in gallery.search([twin], 2)[0]] == [None, "Ada"]


def test_of_two_people_who_are_not_the_same_only_the_nearer_answers(gallery, rand):
    ada, eve = rand.standard_normal((2, 16))
    eve = ada + 0.3 * eve
    gallery.enrol_many(["Ada", "Eve"], [ada, eve])
    gallery.deny("Eve", other="Ada")
    assert [match.name for match in gallery.search([ada], 5)[0]] == ["Ada"]
    assert [match.name for match in gallery.search([eve], 5)[0]] == ["Eve"]
    assert gallery.search([eve], 5)[0][0].margin is None
    gallery.allow("Ada", other="Eve")
    assert [match.name for match in gallery.search([eve], 5)[0]] == ["Eve", "Ada"]


def test_list_and_take_back(gallery, vectors):
    ada, eve = gallery.enrol_many(["Ada", "Eve"], vectors(2))
    (face,) = gallery.add_faces(vectors(1))
    gallery.deny("Ada", face=face)
    gallery.deny("Ada", face=face)
    gallery.deny("Eve", other="Ada")
    gallery.deny("Ada", other="Eve")
    told = [(one.name, one.face, one.other_name) for one in gallery.denials()]
    assert told == [("Ada", face, None), ("Eve", None, "Ada")]
    assert [one.other for one in gallery.denials("Eve")] == [ada]
    gallery.allow("Eve", other=ada)
    with pytest.raises(UnknownDenial, match=f"nobody has said that person {ada} is not person {eve}"):
        gallery.allow("Ada", other="Eve")
    gallery.remove_faces([face])
    assert gallery.denials() == []


def test_what_cannot_be_denied(gallery, vectors):
    gallery.enrol("Ada", vectors(2))
    with pytest.raises(Denied, match="face 1 is one of the faces of person 1"):
        gallery.deny("Ada", face=1)
    with pytest.raises(UnknownFace):
        gallery.deny("Ada", face=77)
    with pytest.raises(UnknownIdentity):
        gallery.deny("Ada", other="Nobody")
    with pytest.raises(UnknownIdentity):
        gallery.denials("Nobody")
    for wrong in ({}, {"face": 1, "other": "Ada"}, {"other": "Ada"}):
        with pytest.raises(ValueError, match=r"say either|the same person"):
            gallery.deny("Ada", **wrong)
    assert gallery.denials() == []


def test_a_merge_keeps_the_negative_examples_but_those_that_it_answers(gallery, vectors):
    rows = vectors(4)
    gallery.enrol_many(["Ada", "A.", "Eve", "Bob"], rows)
    (stranger,) = gallery.add_faces(vectors(1))
    gallery.deny("A.", face=stranger)
    gallery.deny("A.", other="Eve")
    gallery.deny("Bob", other="A.")
    gallery.deny("Ada", face=stranger)
    gallery.merge("Ada", "A.")
    told = {(one.face, frozenset((one.name, one.other_name)) - {None}) for one in gallery.denials()}
    assert told == {
        (stranger, frozenset({"Ada"})),
        (None, frozenset({"Ada", "Eve"})),
        (None, frozenset({"Ada", "Bob"})),
    }
    assert [match.name for match in gallery.search(rows[2:3], 5)[0] if match.name] == ["Eve", "Bob"]
    gallery.deny("Ada", face=gallery.faces("Eve")[0].id)
    gallery.merge("Ada", "Eve")
    assert [(one.name, one.face) for one in gallery.denials()] == [("Ada", stranger), ("Ada", None)]
    assert gallery.search(rows[2:3], 1)[0][0].name == "Ada"
    gallery.move_faces([stranger], "Ada")
    assert [one.face for one in gallery.denials()] == [None]


def test_who_is_hidden_or_has_no_name_still_speaks_against_another(gallery, rand):
    ada, eve = rand.standard_normal((2, 16))
    eve = ada + 0.3 * eve
    _, second = gallery.enrol_many(["Ada", "Eve"], [ada, eve])
    gallery.deny("Eve", other="Ada")
    with gallery._store.write() as connection:
        connection.execute("UPDATE identities SET hidden = 1, name = NULL WHERE id = ?", (second,))
        journal.append(connection, Writer("test"), "renamed", second, second, 0)
        journal.append(connection, Writer("test"), "hidden", second, second, 0)
    assert gallery.search([eve], 5) == [[]]
    assert [match.identity for match in gallery.search([eve], 5, where=Where(hidden=None))[0]] == [second]
    assert [face.name for face in gallery.search_faces([ada], 5)[0]] == ["Ada"]
    (match,) = gallery.search([eve], 5, where=Where(hidden=None, people=(second,)), faces=3)[0]
    assert (match.identity, match.hidden, len(match.faces)) == (second, True, 1)
