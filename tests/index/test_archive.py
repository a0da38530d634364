import pytest

from vultus.index import FaceRecord, FileFaces, FileRecord, Sighting, UnknownIdentity


def record(name="a.jpg", size=10, mtime_ns=5, digest=b""):
    return FileRecord(source=name, size=size, mtime_ns=mtime_ns, digest=digest)


def test_a_file_is_done_when_its_faces_are_stored(gallery, vectors):
    assert gallery.file_state("a.jpg", 10, 5) == "new"
    assert gallery.commit_file(record(), vectors(2), [FaceRecord(track=0), FaceRecord(track=1, source="x")]) == 2
    assert gallery.file_state("a.jpg", 10, 5) == "done"
    assert [(face.source, face.track, face.name) for face in gallery.faces(None)] == [
        ("a.jpg", 0, None),
        ("x", 1, None),
    ]


def test_a_file_without_faces_is_done_too(gallery, vectors):
    assert gallery.commit_file(record(), []) == 0
    assert gallery.file_state("a.jpg", 10, 5) == "done"
    assert gallery.dim is None
    gallery.commit_file(record("b.jpg"), vectors(1, 7))
    assert gallery.dim == 7


def test_a_second_commit_replaces_the_first(gallery, vectors):
    rows = vectors(5)
    gallery.commit_file(record(), rows[:2])
    gallery.commit_file(record("b.jpg"), rows[2:3])
    assert gallery.search(rows[:1], 1)[0][0].similarity == pytest.approx(1, abs=1e-6)
    gallery.commit_file(record(mtime_ns=6), rows[3:5])
    assert gallery.file_state("a.jpg", 10, 6) == "done"
    assert gallery.stats().faces == 3
    assert gallery.stats().files == 2
    best = [match.similarity > 0.999 for match in (row[0] for row in gallery.search(rows, 1))]
    assert best == [False, False, True, True, True]


def test_a_label_enrols(gallery, vectors):
    gallery.commit_file(record(), vectors(1), label=" Ada ")
    gallery.commit_file(record("b.jpg"), vectors(1), label="Ada")
    assert [(person.name, person.faces) for person in gallery.identities()] == [("Ada", 2)]
    gallery.commit_file(record("c.jpg"), [], label="Bob")
    assert len(gallery.identities()) == 1
    with pytest.raises(ValueError, match="name"):
        gallery.commit_file(record("d.jpg"), vectors(1), label="\n")
    assert gallery.file_state("d.jpg", 10, 5) == "new"


def test_a_label_for_some_of_the_faces(gallery, vectors):
    gallery.commit_file(record(), vectors(3), label="Ada", labelled=[1])
    assert [face.name for face in (gallery.face(number) for number in (1, 2, 3))] == [None, "Ada", None]
    gallery.commit_file(record("b.jpg"), vectors(2), label="Bob", labelled=[])
    assert [person.name for person in gallery.identities()] == ["Ada"]
    with pytest.raises(ValueError, match=r"for the faces \[0, 2\], but there are only 2"):
        gallery.commit_file(record(), vectors(2), label="Ada", labelled=[0, 2])
    assert gallery.stats().faces == 5


def test_the_label_asked_for_is_remembered_whether_it_was_given_or_not(gallery, vectors):
    group = FileRecord(source="a.jpg", size=10, mtime_ns=5, label="Ada")
    gallery.commit_file(group, vectors(2))
    assert gallery.identities() == []
    assert gallery.known_files()["a.jpg"].label == "Ada"
    gallery.commit_file(record(), vectors(2))
    assert gallery.known_files()["a.jpg"].label is None


def test_a_failed_commit_leaves_the_former_one(gallery, vectors):
    gallery.commit_file(record(), vectors(2))
    with pytest.raises(ValueError, match="face 0"):
        gallery.commit_file(record(mtime_ns=6), vectors(1), [FaceRecord(box=(1, 2))])
    assert gallery.file_state("a.jpg", 10, 5) == "done"
    assert gallery.stats().faces == 2


def test_several_files_go_in_together_or_not_at_all(gallery, vectors):
    one, two = vectors(2)
    a, b, c = (FileRecord(source=f"{name}.jpg", size=1, mtime_ns=1) for name in "abc")
    gallery.commit_file(c, [one, two])
    files = [
        FileFaces(record=a, vectors=[one, two], label="Ada", labelled=[1]),
        FileFaces(record=b, vectors=[one], label="Bob"),
        FileFaces(record=c, refused="cut"),
    ]
    for wrong in (FileFaces(record=c, vectors=[one], refused="cut"), FileFaces(record=c, vectors=[[0.0] * len(one)])):
        with pytest.raises(ValueError, match=r"c\.jpg|zeros"):
            gallery.commit_files([*files[:2], wrong])
    assert (gallery.stats().faces, gallery.stats().files) == (2, 1)
    assert gallery.commit_files(files) == [2, 1, 0]
    assert [(person.name, person.faces) for person in gallery.identities()] == [("Ada", 1), ("Bob", 1)]
    assert {source: file.status for source, file in gallery.known_files().items()} == {
        "a.jpg": "done",
        "b.jpg": "done",
        "c.jpg": "refused",
    }
    assert gallery.stats().faces == 3
    assert gallery.commit_files([]) == []


def test_refused_files_are_remembered(gallery, vectors):
    gallery.commit_file(record(), vectors(2))
    gallery.refuse_file(record(size=3), "cut short")
    assert gallery.file_state("a.jpg", 3, 5) == "refused"
    assert gallery.file_state("a.jpg", 10, 5) == "changed"
    assert gallery.stats().faces == 0
    with pytest.raises(ValueError, match="source"):
        gallery.refuse_file(record(""), "no name")


@pytest.mark.parametrize(
    ("size", "mtime_ns", "digest", "state"),
    [
        (10, 5, None, "done"),
        (10, 5, b"d", "done"),
        (10, 6, b"d", "done"),
        (10, 6, None, "changed"),
        (10, 6, b"", "changed"),
        (11, 5, None, "changed"),
        (10, 5, b"e", "changed"),
        (11, 5, b"d", "changed"),
    ],
)
def test_file_state(gallery, size, mtime_ns, digest, state):
    gallery.commit_file(record(digest=b"d"), [])
    assert gallery.file_state("a.jpg", size, mtime_ns, digest) == state


def test_a_file_from_the_far_future(gallery, vectors):
    year_2400 = 13_569_465_600 * 10**9
    gallery.commit_file(FileRecord(source="x.jpg", size=1, mtime_ns=year_2400), vectors(1))
    assert gallery.file_state("x.jpg", 1, year_2400) == "done"
    assert gallery.file_state("x.jpg", 1, 0) == "changed"


def test_known_files(gallery, vectors):
    gallery.commit_file(record("/a/1.jpg"), vectors(3))
    gallery.commit_file(record("/a/2.jpg"), [])
    gallery.refuse_file(record("/ab/3.jpg", size=7, mtime_ns=9), "cut short")
    known = gallery.known_files()
    assert [known[source].reason for source in sorted(known)] == [None, None, "cut short"]
    assert {source: (f.size, f.mtime_ns, f.status, f.faces) for source, f in known.items()} == {
        "/a/1.jpg": (10, 5, "done", 3),
        "/a/2.jpg": (10, 5, "done", 0),
        "/ab/3.jpg": (7, 9, "refused", 0),
    }
    assert sorted(gallery.known_files("/a/")) == ["/a/1.jpg", "/a/2.jpg"]


def test_deleting_a_person_does_not_bring_files_back(gallery, vectors):
    gallery.commit_file(record(), vectors(1), label="Ada")
    gallery.remove_identity("Ada")
    assert gallery.file_state("a.jpg", 10, 5) == "done"


def seen(track, **fields):
    return Sighting(**({"run": "r", "source": "door", "track": track, "time": 100.0 + track} | fields))


def test_sightings_are_read_by_cursor(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(1))
    full = seen(1, identity=ada, similarity=0.5, box=(1, 2, 3, 4), quality=0.9, position=4.5)
    first = gallery.add_sighting(full)
    second, third = gallery.add_sightings([seen(2), seen(2, source="gate")])
    assert first < second < third
    read = gallery.sightings()
    assert [row.id for row in read] == [first, second, third]
    assert (read[0].name, read[0].identity, read[0].similarity, read[0].box) == ("Ada", ada, 0.5, (1, 2, 3, 4))
    assert (read[0].position, read[0].quality, read[0].time, read[1].name) == (4.5, 0.9, 101.0, None)
    assert gallery.sightings(since=second) == read[2:]
    assert gallery.sightings(limit=2) == read[:2]
    assert gallery.sightings(source="gate") == read[2:]
    assert gallery.sightings(identity=ada) == read[:1]


def test_a_changed_decision_comes_again_under_a_new_number(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(1))
    gallery.add_sighting(seen(1))
    cursor = gallery.add_sighting(seen(2))
    again = gallery.add_sighting(seen(1, identity=ada))
    assert [row.track for row in gallery.sightings()] == [2, 1]
    (news,) = gallery.sightings(since=cursor)
    assert (news.id, news.track, news.name) == (again, 1, "Ada")
    gallery.add_sighting(seen(1, run="another"))
    assert gallery.stats().sightings == 3


def test_sightings_follow_their_person(gallery, vectors):
    ada, bob = gallery.enrol_many(["Ada", "Bob"], vectors(2))
    gallery.add_sightings([seen(1, identity=ada), seen(2, identity=bob), seen(3)])
    gallery.rename(ada, "Countess")
    gallery.merge(ada, bob)
    assert [row.name for row in gallery.sightings()] == ["Countess", "Countess", None]
    gallery.remove_identity(ada)
    assert [row.track for row in gallery.sightings()] == [3]
    with pytest.raises(UnknownIdentity, match=f"person {ada} of this sighting"):
        gallery.add_sightings([seen(4), seen(5, identity=ada)])
    assert gallery.stats().sightings == 1
