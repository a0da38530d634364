"""Pages of people and faces: every one once, in order, whatever comes and goes meanwhile; in a folder and a database."""

import pytest
from msgspec import structs

from vultus.configs.schema import Audit
from vultus.index import FaceRecord, Gallery, Sighting, UnknownFace, UnknownIdentity, Where

DIM = 16
NAMES = ["bob", "Zoë", "ada", "Ángel", "Straße 100%", "under_score", "李雷", "Bobby!", "ЁЛКА"]


@pytest.fixture
def gallery(place):
    with Gallery.open(place) as gallery:
        yield gallery


def all_pages(ask, **options):
    items, cursor, pages = [], None, 0
    while not pages or cursor is not None:
        page = ask(cursor=cursor, **options)
        assert len(page.items) <= options["limit"]
        items += page.items
        cursor, pages = page.cursor, pages + 1
    return items


def test_people_by_name_by_age_and_by_faces(gallery, vectors):
    for at, name in enumerate(NAMES):
        gallery.enrol(name, vectors(1 + at % 3, DIM))
    gallery.add_faces(vectors(2, DIM))
    gallery.hide("Zoë")
    seen = [name for name in NAMES if name != "Zoë"]
    by_name = [one.name for one in all_pages(gallery.people, limit=3)]
    assert by_name == ["ada", "Ángel", "bob", "Bobby!", "Straße 100%", "under_score", "ЁЛКА", "李雷"]
    assert [one.name for one in all_pages(gallery.people, limit=3, order="newest")] == seen[::-1]
    by_faces = all_pages(gallery.people, limit=2, order="faces")
    assert [one.faces for one in by_faces] == sorted((1 + NAMES.index(name) % 3 for name in seen), reverse=True)
    assert {one.name for one in by_faces} == set(seen)
    assert [one.name for one in gallery.people(hidden=True).items] == ["Zoë"]
    assert len(gallery.people(hidden=None).items) == len(NAMES)
    with pytest.raises(ValueError, match="the order is one of name, newest, faces"):
        gallery.people(order="age")
    with pytest.raises(ValueError, match="no cursor"):
        gallery.people(order="newest", cursor=gallery.people(limit=1).cursor)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("BOB", ["Bobby!", "bob"]),
        ("zoe", ["Zoë"]),
        ("ange", ["Ángel"]),
        ("strasse", ["Straße 100%"]),
        ("0%", ["Straße 100%"]),
        ("b%", []),
        ("r_s", ["under_score"]),
        ("b!", []),
        ("y!", ["Bobby!"]),
        ("елка", ["ЁЛКА"]),
        ("雷", ["李雷"]),
        (" ", sorted(NAMES)),
        ("a\0da", ["ada"]),
    ],
)
def test_part_of_a_name(parts, part, found):
    assert sorted(one.name for one in parts.people(part).items) == found
    assert sorted(one.name for one in all_pages(parts.people, part=part, order="faces", limit=1)) == found


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    with Gallery.open(tmp_path_factory.mktemp("parts") / "g") as gallery:
        gallery.enrol_many(NAMES, [[float(at), 1.0] for at in range(len(NAMES))])
        yield gallery


def test_what_a_list_shows(gallery, vectors):
    qualities = (0.5, None, 0.9, 0.9)
    ada = gallery.enrol("Ada", vectors(4, DIM), [FaceRecord(quality=quality) for quality in qualities])
    bob = gallery.enrol("Bob", vectors(1, DIM))
    for at in (5.0, 9.0, 7.0):
        gallery.add_sighting(Sighting(run="r", source="door", track=int(at), time=at, identity=ada))
    first, second = gallery.people().items
    best = [face.id for face in gallery.faces(ada)][2]
    assert (first.id, first.faces, first.best_face, first.last_seen) == (ada, 4, best, 9.0)
    assert (second.id, second.faces, second.last_seen) == (bob, 1, None)
    assert gallery.person("Ada") == first
    gallery.remove_faces([face.id for face in gallery.faces(bob)])
    assert (gallery.person(bob).faces, gallery.person(bob).best_face) == (0, None)
    with pytest.raises(UnknownIdentity):
        gallery.person("Eve")


def test_a_page_is_not_counted_off(gallery, vectors):
    """Who comes or goes before the cursor moves nobody."""
    gallery.enrol_many([f"p{at}" for at in range(8)], vectors(8, DIM))
    page = gallery.people(limit=4)
    gallery.remove_identity("p0")
    gallery.enrol("a", vectors(1, DIM))
    gallery.rename("p3", "b")
    assert [one.name for one in gallery.people(cursor=page.cursor).items] == ["p4", "p5", "p6", "p7"]


def test_faces_by_quality_and_age(gallery, vectors):
    qualities = [0.5, None, 0.9, 0.1, 0.9, None, 0.0]
    ada = gallery.enrol("Ada", vectors(7, DIM), [FaceRecord(quality=quality) for quality in qualities])
    gallery.enrol("Bob", vectors(1, DIM))
    (nobodys,) = gallery.add_faces(vectors(1, DIM))
    numbers = [face.id for face in gallery.faces(ada)]
    best = [numbers[at] for at in (2, 4, 0, 3, 6, 1, 5)]
    assert [one.id for one in all_pages(lambda **more: gallery.faces_page("Ada", **more), limit=2)] == best
    for order, expected in (("oldest", numbers), ("newest", numbers[::-1])):
        ordered = all_pages(lambda order=order, **more: gallery.faces_page(ada, order=order, **more), limit=3)
        assert [one.id for one in ordered] == expected
    (face,) = gallery.faces_page(None).items
    assert structs.astuple(face) == structs.astuple(gallery.faces(None)[0])
    assert face.id == nobodys
    with pytest.raises(UnknownIdentity):
        gallery.faces_page("Eve")


def test_collections(gallery, vectors):
    gallery.enrol("Ada", vectors(3, DIM), [FaceRecord(collection=name) for name in ("office", "office", "gate")])
    gallery.enrol("Bob", vectors(1, DIM), [FaceRecord(collection="office")])
    gallery.add_faces(vectors(2, DIM), [FaceRecord(collection="office"), FaceRecord()])
    found = [(one.name, one.faces, one.people) for one in gallery.collections()]
    assert found == [("gate", 1, 1), ("office", 4, 2)]


def test_unknown_people_in_pages(gallery, rand):
    for count in (1, 3, 2, 3):
        gallery.add_faces(rand.standard_normal((1, DIM)) + 0.01 * rand.standard_normal((count, DIM)))
    gallery.enrol("Ada", rand.standard_normal((5, DIM)))
    gallery.unknowns.gather(0.5)
    expected = gallery.unknowns.people()
    assert [one.faces for one in expected] == [3, 3, 2, 1]
    assert all_pages(gallery.unknowns.page, limit=1) == expected
    newest = all_pages(gallery.unknowns.page, limit=3, order="newest", least=2)
    assert [one.id for one in newest] == sorted((one.id for one in expected if one.faces > 1), reverse=True)


def test_search_by_a_stored_face(gallery, rand):
    ada = rand.standard_normal(DIM)
    near = ada + 0.2 * rand.standard_normal((3, DIM))
    first = gallery.enrol("Ada", near)
    gallery.enrol("Bob", [ada + 0.6 * rand.standard_normal(DIM)])
    numbers = [face.id for face in gallery.faces(first)]
    matches = gallery.search_face(numbers[0], 5, faces=9)
    assert [match.name for match in matches] == ["Ada", "Bob"]
    assert matches[0].face_id in numbers[1:]
    assert {face.face_id for face in matches[0].faces} == set(numbers[1:])
    by_vector = gallery.search([gallery.face(numbers[0]).vector], 5)[0]
    assert by_vector[0].similarity == pytest.approx(1)
    assert by_vector[1:] == [match for match in gallery.search_face(numbers[0], 5)][1:]
    assert gallery.search_face(numbers[0], 5, where=Where(people=("Bob",)))[0].name == "Bob"
    (alone,) = [face.id for face in gallery.faces("Bob")]
    assert [match.name for match in gallery.search_face(alone, 5)] == ["Ada"]
    gallery.remove_identity("Ada")
    assert gallery.search_face(alone, 5) == []
    with pytest.raises(UnknownFace):
        gallery.search_face(999, 5)


def test_several_search_by_stored_faces_at_once(folder, rand):
    with Gallery.open(folder, audit=Audit(enabled=True)) as gallery:
        people = rand.standard_normal((9, DIM))
        for at, person in enumerate(people):
            gallery.enrol(f"p{at}", person + 0.2 * rand.standard_normal((3, DIM)))
        asked, actors = [5, 27, 999, 5], [("ada", "10.0.0.1"), ("bob", None), ("eve", None), ("cleo", None)]
        found = gallery.search_by_faces(asked, 3, where=Where(labelled=True), actors=actors)
        assert found[2] is None
        assert found[0] == found[3] == gallery.search_face(5, 3)
        assert found[1] == gallery.search_face(27, 3)
        assert gallery.search_by_faces([999], 3) == [None]
        noted = [entry for entry in gallery.audit.entries() if entry.operation == "search"][:3]
    assert [(one.actor, one.via, one.faces) for one in noted] == [
        ("ada", "10.0.0.1", 1),
        ("bob", None, 1),
        ("cleo", None, 1),
    ]
    assert noted[1].people == tuple(match.identity for match in found[1])


def test_a_wrong_count_is_found(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(2, DIM))
    with gallery._store.write() as connection:
        connection.execute("UPDATE identities SET faces = 3")
    assert gallery.verify().problems == (f"person {ada} is said to have 3 faces, but has 2; restore a backup",)
