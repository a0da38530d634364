"""Sightings page by page, counted for a timeline, one by one."""

import itertools

import numpy as np
import pytest

from vultus.index import Denied, Gallery, Seen, Shot, Sighting, UnknownIdentity, UnknownSighting

DAY = 86400.0


@pytest.fixture
def gallery(place):
    with Gallery.open(place) as gallery:
        yield gallery


@pytest.fixture
def sighted(gallery):
    """Six sightings, told by their tracks: times are not in the order in which they came."""
    ada = gallery.enrol("Ada", np.eye(3)[:1])
    eve = gallery.enrol("Eve", np.eye(3)[1:2])
    gallery.hide(eve)
    (placed,) = gallery.unknowns.place(np.eye(3)[2:], None, 0.5)
    rows = [
        (1, "door", 100.0, ada, 0.9),
        (2, "gate", 300.0, ada, 0.5),
        (3, "door", 200.0, None, 0.2),
        (4, "gate", 300.0, placed.identity, 0.3),
        (5, "door", 5000.0, None, None),
        (6, "door", 5000.0, eve, 0.8),
    ]
    for track, source, at, person, similarity in rows:
        shots = [Shot(jpeg=b"a", time=at, quality=0.1), Shot(jpeg=b"b", time=at, quality=0.7)] if track < 3 else []
        gallery.add_sighting(
            Sighting(run="r", source=source, track=track, time=at, identity=person, similarity=similarity), shots
        )
    return gallery


def tracks(gallery, limit=2, **where):
    found, cursor = [], None
    for _ in itertools.count():
        page = gallery.seen(Seen(**where), limit=limit, cursor=cursor)
        found += [one.track for one in page.items]
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, [5, 4, 2, 3, 1]),
        ({"hidden": None}, [6, 5, 4, 2, 3, 1]),
        ({"hidden": True}, [6]),
        ({"people": ("Ada",)}, [2, 1]),
        ({"people": ("Ada", 2), "hidden": None}, [6, 2, 1]),
        ({"people": ()}, []),
        ({"unknown": True}, [5, 4, 3]),
        ({"unknown": False}, [2, 1]),
        ({"source": "door"}, [5, 3, 1]),
        ({"after": 200.0, "before": 5000.0}, [4, 2, 3]),
        ({"similarity": 0.5}, [2, 1]),
        ({"source": "gate", "unknown": True}, [4]),
    ],
)
def test_the_newest_first_of_those_wanted(sighted, where, found):
    assert tracks(sighted, **where) == found
    assert sum(count for _, count in sighted.seen_counts(Seen(**where))) == len(found)


def test_single_ones_and_their_pictures(sighted):
    newest = sighted.newest_sighting()
    assert newest == sighted.sightings()[-1].id
    first = sighted.seen(limit=1000).items[-1]
    assert sighted.sighting(first.id) == first
    best = sighted.shots(first.id)[0]
    assert first.shot == best.id
    assert sighted.shot(best.id) == best
    assert best.jpeg == b"b"
    assert sighted.seen(limit=1).items[0].shot is None
    sighted.add_sighting(Sighting(run="r", source="door", track=1, time=100.0))
    assert [one.track for one in sighted.sightings(newest)] == [1]
    for gone in (lambda: sighted.sighting(first.id), lambda: sighted.shot(best.id), lambda: sighted.sighting(99)):
        with pytest.raises(UnknownSighting, match="is not in the gallery"):
            gone()
    with pytest.raises(UnknownIdentity):
        sighted.seen(Seen(people=("Nobody",)))


def test_a_timeline(sighted):
    assert sighted.seen_counts(every=100.0) == [(100.0, 1), (200.0, 1), (300.0, 2), (5000.0, 1)]
    assert sighted.seen_counts() == [(0.0, 4), (3600.0, 1)]
    assert sighted.seen_counts(every=DAY, shift=-4000.0) == [(4000.0 - DAY, 4), (4000.0, 1)]
    with pytest.raises(ValueError, match="at least 60 seconds"):
        sighted.seen_counts(every=1.0)


def test_a_stranger_is_enrolled_with_the_face_of_that_look(gallery):
    from vultus.index import FaceRecord

    looks = [FaceRecord(source="door", time=1.0 + at, track=at) for at in range(2)]
    first, second = (
        gallery.unknowns.place(vector[None], [look], 0.3)[0].identity
        for vector, look in zip(np.eye(3)[:2], looks, strict=True)
    )
    numbers = [
        gallery.add_sighting(Sighting(run="r", source="door", track=at, time=1.0 + at, identity=who))
        for at, who in enumerate((first, second))
    ]
    done = gallery.enrol_sighting(numbers[0], "Ada")
    assert (done.identity, done.name, done.added) == (gallery.identity("Ada").id, "Ada", 0)
    assert [face.id for face in gallery.faces("Ada")] == list(done.faces)
    assert [one.name for one in gallery.sightings()] == ["Ada", None]
    assert [person.id for person in gallery.unknowns.people()] == [second]
    gallery.undo()
    assert [one.identity for one in gallery.sightings()] == [first, second]
    with pytest.raises(UnknownIdentity):
        gallery.identity("Ada")
    assert gallery.verify().ok


def test_a_sighting_without_vectors_is_enrolled_by_its_pictures(gallery):
    bob = gallery.enrol("Bob", np.eye(3)[1:2])
    shots = [Shot(jpeg=b"one", time=1.0, quality=0.5), Shot(jpeg=b"two", time=2.0, quality=0.9)]
    seen = Sighting(run="r", source="door", track=7, time=1.0, identity=bob, box=(1, 2, 3, 4))
    number = gallery.add_sighting(seen, shots)
    with pytest.raises(ValueError, match="keeps no vector of sighting 1: make one of a picture"):
        gallery.enrol_sighting(number, "Ada")
    assert [person.name for person in gallery.identities()] == ["Bob"], "nothing was made"
    best, other = gallery.shots(number)
    with pytest.raises(UnknownSighting, match="picture 99 is not one of sighting 1"):
        gallery.enrol_sighting(number, "Ada", {99: [0, 0, 1]})
    with pytest.raises(ValueError, match="have 2 numbers each"):
        gallery.enrol_sighting(number, "Ada", {best.id: [0, 1]})
    done = gallery.enrol_sighting(number, "Ada", {best.id: [0, 0, 2], other.id: [0, 0.1, 1]})
    assert done.added == 2
    faces = [gallery.face(face) for face in done.faces]
    assert [(face.chip, face.time, face.quality, face.track, face.box) for face in faces] == [
        (b"two", 2.0, 0.9, 7, None),
        (b"one", 1.0, 0.5, 7, (1, 2, 3, 4)),
    ]
    assert gallery.search([[0, 0, 1]], 1)[0][0].name == "Ada"
    assert gallery.sighting(number).name == "Ada"
    assert gallery.enrol_sighting(number, "Ada", {best.id: [0, 0, 2]}).added == 0, "said twice is as good as once"
    gallery.undo()
    assert gallery.sighting(number).name == "Bob"
    assert [(person.name, person.faces) for person in gallery.identities()] == [("Bob", 1)], "Ada was made by it"


def test_denying_a_sighting_is_one_commit(sighted):
    number = next(one.id for one in sighted.sightings() if one.track == 1)
    (best, _), ada = sighted.shots(number), sighted.identity("Ada").id
    before = len(sighted.faces(None))
    with pytest.raises(ValueError, match="vector"):
        sighted.deny_sighting(number, {best.id: np.ones(7)})
    assert sighted.sighting(number).identity == ada
    assert (sighted.denials(), len(sighted.faces(None))) == ([], before), "nothing of it was kept"
    other = sighted.deny_sighting(number, {best.id: np.ones(3), 999: np.ones(3)})
    with pytest.raises(UnknownSighting):
        sighted.sighting(number)
    assert sighted.sighting(other).identity is None
    assert len(sighted.shots(other)) == 2
    (denial,) = sighted.denials("Ada")
    assert sighted.face(denial.face).identity is None
    with pytest.raises(Denied, match="of nobody"):
        sighted.deny_sighting(other)
