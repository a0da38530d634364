"""Merging, splitting, moving, naming, hiding, and taking it back."""

import signal
import sqlite3
import time

import numpy as np
import pytest

from vultus.index import CannotUndo, FaceRecord, Gallery, NameTaken, Sighting, UnknownFace, UnknownIdentity, Where

AXES = np.eye(16, dtype=np.float32)


@pytest.fixture
def people(gallery):
    """Ada with the faces 1 to 3, Bob with 4 to 6, Cyd with 7; each face on an axis of its own."""
    records = [FaceRecord(source="door", time=float(at), track=at) for at in range(7)]
    return gallery.enrol_many([*["Ada"] * 3, *["Bob"] * 3, "Cyd"], AXES[:7], records)[::3]


def found(gallery, axis, **where):
    """The best match of a face's own vector."""
    best = gallery.search(AXES[axis : axis + 1], 1, threshold=0.9, where=Where(**where) if where else None)[0]
    return best[0] if best else None


def state(gallery, people):
    """What users see of three people: faces by name, sightings by name, and whom a search names for each face."""
    named = {one.name: [face.id for face in gallery.faces(one.id)] for one in gallery.identities(hidden=None)}
    seen = {sighting.track: sighting.name for sighting in gallery.sightings()}
    return named, seen, [match and match.name for match in (found(gallery, axis) for axis in range(7))]


def sight(gallery, track, person):
    gallery.add_sighting(Sighting(run="r", source="door", track=track, time=float(track), identity=person))


def test_an_undone_merge_brings_back_name_faces_and_sightings(gallery, people):
    ada, bob, _ = people
    sight(gallery, 0, ada)
    sight(gallery, 4, bob)
    before = state(gallery, people)
    gallery.merge("Ada", "Bob")
    assert gallery.identity("Ada").faces == 6
    assert {sighting.name for sighting in gallery.sightings()} == {"Ada"}
    assert found(gallery, 4).name == "Ada"
    (act,) = gallery.acts()
    assert (act.kind, act.summary, act.undone) == ("merge", f"Bob ({bob}) with 3 faces into Ada ({ada})", None)
    (undone,) = gallery.undo()
    assert (undone.id, undone.lost) == (act.id, 0)
    assert state(gallery, people) == before
    assert gallery.identity("Bob").id not in people, "a number is never given twice"
    assert gallery.acts()[0].undone is not None
    with pytest.raises(CannotUndo, match="no act"):
        gallery.undo()
    assert gallery.verify().problems == ()


def test_what_came_since_stays_and_what_went_is_counted(gallery, people):
    ada, bob, _ = people
    gallery.merge(ada, bob)
    gallery.enrol("Ada", AXES[8:9])
    gallery.remove_faces([5])
    gallery.move_faces([6], "Cyd")
    moved, merged = gallery.undo(2)
    assert (moved.kind, moved.lost, merged.kind, merged.lost) == ("move", 0, "merge", 1)
    assert [face.id for face in gallery.faces("Bob")] == [4, 6]
    assert [face.id for face in gallery.faces("Ada")] == [1, 2, 3, 8]
    assert [face.id for face in gallery.faces("Cyd")] == [7]


def test_a_name_that_is_somebody_elses_now_is_not_taken_away(gallery, people):
    gallery.merge("Ada", "Bob")
    gallery.enrol("Bob", AXES[9:10])
    with pytest.raises(CannotUndo, match="name 'Bob' belongs to person 4 now; rename that one, then undo act 1"):
        gallery.undo()
    assert gallery.identity("Ada").faces == 6, "nothing happened"
    gallery.rename("Bob", "Rob")
    assert [act.kind for act in gallery.undo(act=1)] == ["merge"]
    assert {one.name: one.faces for one in gallery.identities()} == {"Ada": 3, "Bob": 3, "Cyd": 1, "Rob": 1}
    with pytest.raises(CannotUndo, match=r"act 1 .* is undone already"):
        gallery.undo(act=1)
    with pytest.raises(CannotUndo, match="no act 99"):
        gallery.undo(act=99)


def test_acts_about_somebody_merged_hold_for_the_one_who_came_back(gallery, people):
    ada, bob, _ = people
    gallery.rename(bob, "Rob")
    gallery.hide("Rob")
    gallery.merge(ada, bob)
    assert [act.kind for act in gallery.undo(3)] == ["merge", "hide", "rename"]
    assert gallery.identity("Bob").faces == 3
    assert not gallery.identity("Bob").hidden


def test_merges_of_merges(gallery, people):
    before = state(gallery, people)
    gallery.merge("Ada", "Bob")
    gallery.merge("Cyd", "Ada")
    assert found(gallery, 3).name == "Cyd"
    gallery.undo()
    assert found(gallery, 3).name == "Ada"
    assert found(gallery, 6).name == "Cyd"
    gallery.undo()
    assert state(gallery, people) == before


def test_split(gallery, people):
    ada = people[0]
    sight(gallery, 1, ada)
    sight(gallery, 2, ada)
    new = gallery.split("Ada", [2], "Eve")
    assert [face.id for face in gallery.faces("Eve")] == [2]
    assert [sighting.name for sighting in gallery.sightings()] == ["Eve", "Ada"], "the look's sighting goes along"
    assert found(gallery, 1).identity == new
    unknown = gallery.split("Ada", [3])
    match = found(gallery, 2)
    assert (match.identity, match.name) == (unknown, None)
    assert found(gallery, 2, labelled=True) is None
    with pytest.raises(ValueError, match="all 1 faces of Ada"):
        gallery.split("Ada", [1])
    with pytest.raises(UnknownFace, match="face 4 is not one of Ada"):
        gallery.split("Ada", [1, 4])
    with pytest.raises(ValueError, match="no face"):
        gallery.split("Ada", [])
    with pytest.raises(NameTaken):
        gallery.split("Bob", [4], "Ada")
    gallery.undo(2)
    assert [face.id for face in gallery.faces("Ada")] == [1, 2, 3]
    assert {sighting.name for sighting in gallery.sightings()} == {"Ada"}
    with pytest.raises(UnknownIdentity):
        gallery.identity(new)


def test_moving_faces(gallery, people):
    before = state(gallery, people)
    gallery.move_faces([1, 4, 7], "Bob")
    assert [face.id for face in gallery.faces("Bob")] == [1, 4, 5, 6, 7]
    assert gallery.acts()[0].summary == f"2 faces to Bob ({people[1]})", "the one that was Bob's did not move"
    gallery.move_faces([1, 2], None)
    assert [face.id for face in gallery.faces(None)] == [1, 2]
    assert found(gallery, 1).identity is None
    with pytest.raises(UnknownFace):
        gallery.move_faces([1, 99], "Cyd")
    with pytest.raises(UnknownIdentity):
        gallery.move_faces([1], "Zoe")
    assert [act.kind for act in gallery.undo(2)] == ["move", "move"]
    assert state(gallery, people) == before


def test_naming_faces_makes_the_person_if_not_there(gallery, people):
    before = state(gallery, people)
    dan = gallery.name_faces([1, 7], " Dan ")
    assert [face.id for face in gallery.faces(dan)] == [1, 7]
    assert gallery.identity(dan).name == "Dan"
    assert gallery.name_faces([4], "Ada") == people[0]
    with pytest.raises(UnknownFace):
        gallery.name_faces([1, 99], "Zoe")
    assert [act.kind for act in gallery.undo(2)] == ["move", "move"]
    assert state(gallery, people) == before, "whom the act made is gone with it"
    with pytest.raises(UnknownIdentity):
        gallery.identity(dan)
    assert "Zoe" not in [one.name for one in gallery.identities()]


def test_whom_an_undone_act_made_stays_if_anything_came_since(gallery, people):
    for since in (
        lambda one: gallery.enrol("Dan", AXES[7:8]),
        lambda one: gallery.add_sighting(Sighting(run="r", source="door", track=9, time=9.0, identity=one)),
        lambda one: gallery.deny(one, other="Ada"),
        lambda one: gallery.hide(one),
    ):
        dan = gallery.name_faces([1, 2], "Dan")
        act = gallery.acts(1)[0].id
        since(dan)
        gallery.undo(act=act)
        assert gallery.identity(dan).name == "Dan"
        gallery.remove_identity(dan)
    dan = gallery.name_faces([1, 2], "Dan")
    gallery.rename(dan, "Daniel")
    assert [act.kind for act in gallery.undo(2)] == ["rename", "move"]
    assert "Daniel" not in str([act.summary for act in gallery.acts()])
    with pytest.raises(UnknownIdentity):
        gallery.identity(dan)


def test_hidden_people_are_found_only_if_asked_for(gallery, people):
    _, bob, _ = people
    gallery.hide("Bob")
    assert [one.name for one in gallery.identities()] == ["Ada", "Cyd"]
    assert [one.name for one in gallery.identities(hidden=True)] == ["Bob"]
    assert [one.name for one in gallery.identities(hidden=None)] == ["Ada", "Bob", "Cyd"]
    probe = AXES[:7].sum(axis=0)[None]
    for where, names in (
        (None, {"Ada", "Cyd"}),
        (Where(labelled=True), {"Ada", "Cyd"}),
        (Where(hidden=True), {"Bob"}),
        (Where(hidden=None), {"Ada", "Bob", "Cyd"}),
        (Where(hidden=None, source="door"), {"Ada", "Bob", "Cyd"}),
        (Where(source="door"), {"Ada", "Cyd"}),
    ):
        matches = gallery.search(probe, 9, where=where)[0]
        assert {match.name for match in matches} == names, where
        assert all(match.hidden == (match.name == "Bob") for match in matches)
    assert gallery.identity(bob).hidden
    assert gallery.verify().ok
    gallery.hide(bob, False)
    assert found(gallery, 3).name == "Bob"
    assert [act.kind for act in gallery.acts()] == ["show", "hide"]
    gallery.undo()
    assert found(gallery, 3) is None
    gallery.undo()
    assert found(gallery, 3).name == "Bob"


def test_a_deleted_person_leaves_no_trace_in_the_acts(folder, gallery, people):
    gallery.rename("Cyd", "Zaphod")
    gallery.merge("Bob", "Zaphod")
    gallery.merge("Ada", "Bob")
    gallery.undo()
    gallery.merge("Ada", "Bob")
    gallery.enrol("Eve", AXES[8:10])
    gallery.rename("Eve", "Evelyn")
    gallery.remove_identity("Ada")
    assert [(act.kind, act.summary.partition(" ")[0]) for act in gallery.acts()] == [("rename", "Eve")]
    gallery.close()
    with sqlite3.connect(folder / "gallery.sqlite3") as database:
        kept = " ".join(detail for (detail,) in database.execute("SELECT detail FROM acts"))
    database.close()
    assert not {"Ada", "Bob", "Cyd", "Zaphod"} & set(kept.replace('"', " ").split())


def test_snapshots_from_before_an_act_follow_it(folder, gallery, people):
    gallery.snapshot()
    with Gallery.open(folder) as other:
        other.merge("Ada", "Bob")
        new = other.split("Ada", [2])
        other.rename(new, "Eve")
        other.hide("Cyd")
        other.undo(1)
        other.move_faces([1], "Cyd")
        other.close(snapshot=False)
    with Gallery.open(folder) as again:
        assert [match and match.name for match in (found(again, axis) for axis in range(7))] == [
            "Cyd", "Eve", "Ada", "Ada", "Ada", "Ada", "Cyd"
        ]  # fmt: skip
        assert again._backend.live.origin == "snapshot"
        assert again.verify().problems == ()


OTHER = """
import sys
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


def test_another_process_sees_each_act_at_once(folder, gallery, people, python):
    child = python(OTHER, folder)
    assert child.stdout.readline() == "open\n"

    def run(line):
        print(line, file=child.stdin, flush=True)
        assert child.stdout.readline() == "done\n"
        assert gallery.verify().problems == ()

    assert found(gallery, 3).name == "Bob"
    run("gallery.merge('Ada', 'Bob')")
    assert found(gallery, 3).name == "Ada"
    run("gallery.undo()")
    assert found(gallery, 3).name == "Bob"
    run("gallery.split('Bob', [4], None)")
    assert found(gallery, 3).name is None
    run(f"gallery.rename({found(gallery, 3).identity}, 'Eve')")
    assert found(gallery, 3).name == "Eve"
    run("gallery.hide('Eve')")
    assert found(gallery, 3) is None
    run("gallery.undo(2)")
    assert (found(gallery, 3).name, found(gallery, 3).hidden) == (None, False)
    run("gallery.move_faces([4], 'Cyd')")
    assert found(gallery, 3).name == "Cyd"


def test_undoing_says_again_what_a_merge_or_a_move_had_answered(gallery, people):
    ada, bob, _ = people
    gallery.deny("Ada", face=4)
    gallery.deny("Ada", face=7)
    gallery.deny("Bob", face=1)
    gallery.deny("Cyd", other="Bob")

    def denied():
        return {(one.face, frozenset((one.name, one.other_name)) - {None}) for one in gallery.denials()}

    before, answer = denied(), [(match.name, match.similarity) for match in gallery.search(AXES[3:4], 5)[0]]
    gallery.merge(ada, bob)
    gallery.move_faces([7], "Ada")
    assert denied() == {(None, frozenset({"Ada", "Cyd"}))}
    gallery.undo(2)
    assert denied() == before
    assert len(before) == 4
    assert [(match.name, match.similarity) for match in gallery.search(AXES[3:4], 5)[0]] == answer


def test_random_acts_and_their_undoing_end_where_they_began(gallery, rand):
    """After each step the index in memory is what the database makes of it; undoing all gives the first state again."""
    names = [f"p{at}" for at in range(8)]
    gallery.enrol_many([names[at % 8] for at in range(40)], rand.standard_normal((40, 8)))
    for at in range(8):
        gallery.deny(names[at], face=int(rand.choice([face for face in range(1, 41) if (face - 1) % 8 != at])))
        gallery.deny(names[at], other=names[(at + 1 + int(rand.integers(7))) % 8])

    def faces():
        """Everybody's faces, and what was said not to be."""
        denied = {
            (one.name, one.face) if one.other is None else frozenset((one.name, one.other_name))
            for one in gallery.denials()
        }
        named = {one.name: [face.id for face in gallery.faces(one.id)] for one in gallery.identities(hidden=None)}
        return named, denied

    before, done = faces(), 0
    for _ in range(30):
        everybody = gallery.identities(hidden=None)
        first, second = (everybody[at] for at in rand.choice(len(everybody), 2, replace=False))
        mine = [face.id for face in gallery.faces(first.id)]
        match rand.integers(5):
            case 0 if len(everybody) > 3:
                gallery.merge(first.id, second.id)
            case 1 if len(mine) > 1:
                gallery.split(first.id, rand.choice(mine, len(mine) // 2, replace=False).tolist(), f"s{done}")
            case 2 if mine:
                gallery.move_faces(mine[:2], second.id)
            case 3:
                gallery.rename(first.id, f"n{done}")
            case 4:
                gallery.hide(first.id, not first.hidden)
            case _:
                continue
        done += 1
        gallery.search(rand.standard_normal((1, 8)), 3)
        assert gallery.verify().problems == ()
        assert len(gallery.acts()) == done
    assert [act.lost for act in gallery.undo(done)] == [0] * done
    assert faces() == before
    assert [one.name for one in gallery.identities(hidden=True)] == []
    assert gallery.verify().problems == ()


def test_only_so_many_acts_are_kept(gallery, people, monkeypatch):
    monkeypatch.setattr("vultus.index.acts._MOST", 3)
    for at in range(5):
        gallery.rename(people[0], f"Ada {at}")
    assert [act.summary for act in gallery.acts()] == [f"Ada {at - 1} (1) is now Ada {at}" for at in (4, 3, 2)]
    with pytest.raises(CannotUndo, match="3 acts can be undone, not 4"):
        gallery.undo(4)
    assert gallery.identity(people[0]).name == "Ada 4"
    with pytest.raises(ValueError, match="at least 1"):
        gallery.undo(0)


ACTOR = """
import sys
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
while sum(act.undone is None for act in gallery.acts()):
    gallery.undo()
print("open", flush=True)
while True:
    gallery.split("Ada", [2, 3], "Eve")
    gallery.merge("Ada", "Eve")
    gallery.undo()
    gallery.undo()
"""


@pytest.mark.slow
def test_a_kill_leaves_an_act_and_what_it_did_or_neither(folder, gallery, python, rand):
    gallery.enrol("Ada", AXES[:4])
    gallery.close()
    whole, parted = {"Ada": [1, 2, 3, 4]}, {"Ada": [1, 4], "Eve": [2, 3]}
    for _ in range(6):
        child = python(ACTOR, folder)
        assert child.stdout.readline() == "open\n"
        time.sleep(rand.uniform(0.0, 0.2))  # not a wait for anything: the random moment
        child.send_signal(signal.SIGKILL)
        child.wait()
        with Gallery.open(folder) as again:
            assert again.verify().problems == ()
            done = sum(act.undone is None for act in again.acts())
            there = {one.name: [face.id for face in again.faces(one.id)] for one in again.identities()}
            assert there == [whole, parted, whole][done]


def test_verify_sees_an_index_that_hides_the_wrong_people(gallery, people):
    gallery.search(AXES[:1], 1)
    with gallery._backend.live.reading() as index:
        index.hidden = frozenset({people[0]})
    assert "knows other people as hidden" in " ".join(gallery.verify().problems)
