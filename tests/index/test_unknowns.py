"""Strangers become people by themselves, the same ones whoever looks and whenever, and users say who they are."""

import signal
import time

import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, Sighting, UnknownIdentity, Where, clustering
from vultus.index.clustering import limits

THRESHOLD = 0.36
DIM = 64


@pytest.fixture
def looks(rand):
    """Makes `count` faces of each of `people` strangers, shuffled: vectors, and who each is. Two faces of one: 0.65."""

    def make(people, count, spread=0.73):
        centres = rand.standard_normal((people, DIM))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        who = rand.permutation(np.repeat(np.arange(people), count))
        noise = rand.standard_normal((len(who), DIM))
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        return centres[who] + spread * noise, who

    return make


def groups(gallery, faces):
    """The person of each face, 0 for nobody."""
    return np.array([gallery.face(face).identity or 0 for face in faces])


def same(found, who):
    """Whether two labellings part the faces in the same way."""
    return (
        len(set(zip(found.tolist(), who.tolist(), strict=True))) == len(set(found.tolist())) == len(set(who.tolist()))
    )


def test_strangers_become_people(gallery, looks):
    vectors, who = looks(40, 6)
    faces = gallery.add_faces(vectors)
    assert gallery.unknowns.pending() == 240
    gathered = gallery.unknowns.gather(THRESHOLD)
    assert (gathered.faces, gathered.left) == (240, 0)
    assert gathered.founded - gathered.merged == 40
    assert same(groups(gallery, faces), who)
    assert gallery.unknowns.pending() == 0
    assert gallery.unknowns.gather(THRESHOLD).faces == 0
    assert gallery.identities() == []
    stats = gallery.stats()
    assert (stats.identities, stats.unknown, stats.faces, stats.unlabelled) == (0, 40, 240, 240)
    assert gallery.verify().problems == ()


def test_a_stranger_of_five_days_is_one_stranger(folder, looks):
    """Each day is a process of its own, and all strangers come by in another order."""
    vectors, who = looks(20, 5)
    faces = np.zeros(len(who), int)
    for day in range(5):
        with Gallery.open(folder) as gallery:
            for stranger in range(20):
                at = np.flatnonzero(who == stranger)[day]
                record = FaceRecord(source="door", time=86400.0 * day + stranger)
                (placed,) = gallery.unknowns.place(vectors[at : at + 1], [record], THRESHOLD)
                assert placed.stored
                faces[at] = placed.identity
            assert len(gallery.unknowns.people()) == 20
    assert same(faces, who)
    with Gallery.open(folder) as gallery:
        one = gallery.unknowns.get(int(faces[who == 7][0]))
        assert (one.faces, one.first, one.last, one.sources) == (5, 7.0, 4 * 86400.0 + 7, ("door",))
        assert gallery.verify().problems == ()


def test_the_order_of_faces_hardly_matters(tmp_path, looks, rand):
    vectors, who = looks(30, 5, spread=0.85)
    found = []
    for attempt in range(3):
        order = rand.permutation(len(who))
        with Gallery.open(tmp_path / str(attempt)) as gallery:
            faces = gallery.add_faces(vectors[order])
            gallery.unknowns.gather(THRESHOLD)
            mine = np.zeros(len(who), int)
            mine[order] = groups(gallery, faces)
            pairs = (mine[:, None] == mine) & ~np.eye(len(who), dtype=bool)
            right = who[:, None] == who
            assert (pairs & ~right).sum() == 0
            found.append((pairs & right).sum())
    assert min(found) > 0.85 * 30 * 5 * 4


def test_a_gathering_goes_on_where_it_was(folder, looks):
    vectors, who = looks(30, 20)
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(vectors)
        assert gallery.unknowns.gather(THRESHOLD, limit=200).faces == 256
        assert gallery.unknowns.pending() == 600 - 256
    told = []
    with Gallery.open(folder) as gallery:
        gallery.unknowns.gather(THRESHOLD, progress=told.append)
        assert told == [256, 344]
        assert same(groups(gallery, faces), who)


def test_blurred_faces_join_but_found_and_join_nobody_together(gallery, rand):
    ada, bob, neither = np.eye(DIM)[:3]

    def look(*parts):
        return sum(parts)

    clear = gallery.add_faces([ada, bob], [FaceRecord(quality=0.7)] * 2)
    blurred = gallery.add_faces(
        [look(ada, bob), look(ada, 0.6 * bob), neither], [FaceRecord(quality=clustering.GOOD - 0.01)] * 3
    )
    gathered = gallery.unknowns.gather(THRESHOLD)
    assert (gathered.founded, gathered.left) == (2, 1)
    whose = groups(gallery, [*clear, *blurred])
    assert whose[0] != whose[1]
    assert whose[3] == whose[0], "the nearer one"
    assert whose[4] == 0
    gallery.add_faces([look(ada, bob)] * 5, [FaceRecord(quality=0.1)] * 5)
    gallery.unknowns.gather(THRESHOLD)
    assert len(gallery.unknowns.people()) == 2, "a row of blurred faces makes no bridge"


def test_faces_near_to_somebody_with_a_name_stay_nobodys(gallery):
    ada, other = np.eye(DIM)[:2]
    gallery.enrol("Ada", [ada])
    faces = gallery.add_faces([ada + 0.3 * other, other])
    gathered = gallery.unknowns.gather(THRESHOLD)
    assert (gathered.founded, gathered.left) == (1, 1)
    assert groups(gallery, faces)[0] == 0
    gallery.remove_identity("Ada")
    assert gallery.unknowns.gather(THRESHOLD).faces == 0
    assert gallery.unknowns.gather(THRESHOLD, again=True).founded == 1


def test_people_who_turn_out_to_be_one_are_merged(gallery):
    """Two founded at either end of what one person looks like become one when the looks between have come."""
    left, right, rest = np.eye(DIM)[:3]
    gallery.add_faces([left + 0.42 * right, 0.42 * left + right + 0.3 * rest])
    gallery.unknowns.gather(0.6)
    assert len(gallery.unknowns.people()) == 2
    gallery.add_faces([(1 - at) * left + at * right for at in (0.45, 0.55, 0.5, 0.48, 0.52, 0.4, 0.6)])
    assert gallery.unknowns.gather(0.6).merged == 1
    (one,) = gallery.unknowns.people()
    assert one.faces == 9
    assert one.id == 1, "the older number stays"
    assert gallery.acts() == [], "no user did that"
    assert gallery.verify().problems == ()


def test_people_who_were_split_are_not_joined_again(gallery, looks):
    vectors, _ = looks(1, 8)
    faces = gallery.add_faces(vectors)
    gallery.unknowns.gather(0.2)
    (one,) = gallery.unknowns.people()
    gallery.split(one.id, faces[:4])
    gallery.add_faces(vectors.mean(axis=0)[None])
    assert gallery.unknowns.gather(0.2).merged == 0
    assert sorted(person.faces for person in gallery.unknowns.people()) == [4, 5]


def test_naming(gallery, looks):
    vectors, who = looks(3, 4)
    faces = gallery.add_faces(vectors)
    gallery.unknowns.gather(THRESHOLD)
    whose = groups(gallery, faces)
    ada, bob, other = (int(whose[who == at][0]) for at in range(3))
    probe = vectors[who == 0][:1]
    assert (gallery.search(probe, 1)[0][0].identity, gallery.search(probe, 1)[0][0].name) == (ada, None)
    assert gallery.search(probe, 1, threshold=0.5, where=Where(labelled=True)) == [[]]
    assert gallery.unknowns.name(ada, " Ada ") == ada
    assert gallery.search(probe, 1, where=Where(labelled=True))[0][0].name == "Ada"
    assert [one.name for one in gallery.identities()] == ["Ada"]
    gallery.enrol("Bob", np.eye(DIM)[:1])
    gallery.add_sighting(Sighting(run="r", source="door", track=1, time=5.0, identity=bob))
    assert gallery.unknowns.name(bob, "Bob") == gallery.identity("Bob").id != bob
    assert gallery.identity("Bob").faces == 5
    assert gallery.sightings()[0].name == "Bob"
    for call in (lambda: gallery.unknowns.name(ada, "Eve"), lambda: gallery.unknowns.get(ada)):
        with pytest.raises(UnknownIdentity, match=f"person {ada} is not unknown, but 'Ada'"):
            call()
    with pytest.raises(ValueError, match="'Ada' would lose the name"):
        gallery.merge(other, "Ada")
    assert [act.kind for act in gallery.undo(2)] == ["merge", "name"]
    assert gallery.identity("Bob").faces == 1
    assert len(gallery.unknowns.people()) == 3
    assert gallery.verify().problems == ()


def test_ignored_people_take_their_faces_and_are_seen_no_more(gallery, looks):
    vectors, who = looks(2, 6)
    now, later = np.flatnonzero(who == 0)[:3], np.flatnonzero(who == 0)[3:]
    gallery.add_faces(vectors[now])
    gallery.unknowns.gather(THRESHOLD)
    (one,) = gallery.unknowns.people()
    gallery.unknowns.ignore(one.id)
    assert gallery.unknowns.people() == []
    assert [hidden.id for hidden in gallery.unknowns.people(hidden=True)] == [one.id]
    assert gallery.search(vectors[now], 3) == [[]] * 3
    gallery.add_faces(vectors[later])
    gallery.unknowns.gather(THRESHOLD)
    assert gallery.unknowns.people() == []
    assert gallery.identity(one.id).faces == 6
    (placed,) = gallery.unknowns.place(vectors[now[:1]] + vectors[later[:1]], [FaceRecord()], THRESHOLD)
    assert (placed.identity, placed.hidden) == (one.id, True)


def test_a_camera_keeps_what_is_new_of_a_stranger(gallery, looks):
    vectors, _ = looks(1, 100, spread=0.5)
    records = [FaceRecord(source="door", quality=0.6)]
    (first,) = gallery.unknowns.place(vectors[:1], records, THRESHOLD)
    (again,) = gallery.unknowns.place(vectors[:1], records, THRESHOLD)
    assert (first.stored, again.stored, first.identity) == (True, False, again.identity)
    for vector in vectors[1:]:
        assert gallery.unknowns.place(vector[None], records, THRESHOLD)[0].identity == first.identity
    assert gallery.identity(first.identity).faces == 64
    assert gallery.unknowns.place(np.eye(DIM)[:1], [FaceRecord(quality=0.1)], THRESHOLD) == [None]
    assert gallery.unknowns.place([], [], THRESHOLD) == []


def test_an_unknown_person_goes_with_the_last_face_but_not_with_sightings(gallery, looks):
    vectors, _ = looks(2, 1)
    faces = gallery.add_faces(vectors)
    gallery.unknowns.gather(THRESHOLD)
    seen, unseen = groups(gallery, faces)
    gallery.add_sighting(Sighting(run="r", source="door", track=1, time=5.0, identity=int(seen)))
    gallery.remove_faces(faces)
    with pytest.raises(UnknownIdentity):
        gallery.identity(int(unseen))
    assert gallery.identity(int(seen)).faces == 0
    assert gallery.unknowns.people() == []
    assert gallery.sightings()[0].identity == seen
    assert gallery.verify().problems == ()


def test_lists(gallery, looks):
    vectors, who = looks(3, 4)
    keep = np.flatnonzero((who > 0) | (np.cumsum(who == 0) <= 2))
    faces = gallery.add_faces(vectors[keep], [FaceRecord(source=f"{at}.jpg", quality=0.5 + at / 100) for at in keep])
    gallery.unknowns.gather(THRESHOLD)
    everybody = gallery.unknowns.people()
    assert [one.faces for one in everybody] == [4, 4, 2]
    assert [one.faces for one in gallery.unknowns.people(least=3)] == [4, 4]
    assert len(gallery.unknowns.people(limit=1)) == 1
    for one in everybody:
        mine = [face for face in gallery.faces(one.id)]
        assert one.best_face == max(mine, key=lambda face: face.quality).id
        assert set(one.sources) == {face.source for face in mine}
    assert len(faces) == 10


def test_the_more_people_the_nearer_a_face_must_be():
    few, many = limits(0.36, 100), limits(0.36, 100_000)
    assert few == limits(0.36, 1)
    assert many.join == pytest.approx(few.join + 0.1)
    assert 0.36 < few.join < few.merge < many.merge
    assert limits(0.99, 10**9).merge < 1


GATHERER = """
import sys
from vultus.index import Gallery
with Gallery.open(sys.argv[1]) as gallery:
    print("open", flush=True)
    sys.stdin.readline()
    print(gallery.unknowns.gather(0.36).faces, flush=True)
"""


@pytest.mark.slow
def test_processes_that_gather_at_once_look_at_each_face_once(folder, python, looks):
    vectors, who = looks(40, 40)
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(vectors)
        children = [python(GATHERER, folder) for _ in range(2)]
        for child in children:
            assert child.stdout.readline() == "open\n"
        for child in children:
            print(file=child.stdin, flush=True)
        looked = sum(int(child.stdout.readline()) for child in children)
        assert [child.wait(60) for child in children] == [0, 0]
        assert looked == 1600
        assert same(groups(gallery, faces), who)
        assert gallery.verify().problems == ()


@pytest.mark.slow
def test_a_kill_loses_nothing_of_a_gathering(folder, python, looks, rand):
    vectors, who = looks(40, 40)
    with Gallery.open(folder) as gallery:
        faces = gallery.add_faces(vectors)
    for _ in range(4):
        child = python(GATHERER, folder)
        assert child.stdout.readline() == "open\n"
        print(file=child.stdin, flush=True)
        time.sleep(rand.uniform(0.0, 0.3))  # not a wait for anything: the random moment
        child.send_signal(signal.SIGKILL)
        child.wait()
        with Gallery.open(folder) as gallery:
            assert gallery.verify().problems == ()
            whose = groups(gallery, faces)
            assert (whose[: 1600 - gallery.unknowns.pending()] > 0).all()
    with Gallery.open(folder) as gallery:
        gallery.unknowns.gather(0.36)
        assert same(groups(gallery, faces), who)


@pytest.mark.parametrize("kind", ["sq8", "pq-sq8", "pq-exact"])
def test_every_kind_of_index_gathers(gallery, looks, kind):
    vectors, who = looks(150, 8, spread=0.6)
    faces = gallery.add_faces(vectors)
    assert gallery.convert(kind) == kind
    gallery.unknowns.gather(THRESHOLD)
    assert same(groups(gallery, faces), who)
    assert gallery.verify().problems == ()


def test_everybody_with_a_name_and_none_are_all_faces(gallery, looks):
    vectors, _ = looks(3, 2)
    gallery.add_faces(vectors)
    gallery.enrol("Ada", np.eye(DIM)[:1])
    gallery.unknowns.gather(THRESHOLD)
    gallery.add_faces(np.eye(DIM)[1:2])
    mine = [face for face in gallery.faces(None)]
    assert [face.id for face in mine] == [1, 2, 3, 4, 5, 6, 8]
    assert [face.identity is None for face in mine] == [False] * 6 + [True]
    assert [face.id for face in gallery.faces("Ada")] == [7]


def test_faces_with_owners_are_not_read_at_each_gathering(gallery, looks, monkeypatch):
    monkeypatch.setattr("vultus.index.unknowns._MANY", 10)
    cursor = "SELECT gathered FROM gallery"
    gallery.enrol_many(["Ada"] * 9, looks(1, 9)[0])
    gallery.unknowns.gather(THRESHOLD)
    with gallery._store.read() as connection:
        assert connection.execute(cursor).fetchone() == (0,), "not worth a write"
    gallery.enrol_many(["Ada"], looks(1, 1)[0])
    gallery.unknowns.gather(THRESHOLD)
    with gallery._store.read() as connection:
        assert connection.execute(cursor).fetchone() == (10,)
    gallery.add_faces(looks(1, 1)[0])
    assert gallery.unknowns.gather(THRESHOLD).founded == 1
