"""Any history of calls, on two handles and over reopenings, leaves what a dictionary would hold."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from vultus.index import FileRecord, Gallery

NAMES = st.sampled_from(["Ada", "Bob", "Cyd", "Dan"])
# Few directions, so that ties are common.
ROWS = st.lists(st.lists(st.integers(-2, 2), min_size=4, max_size=4).filter(any), min_size=1, max_size=4)


def machine(folder, answer):
    class History(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.folder = folder / str(np.random.default_rng().integers(1 << 62))
            self.handles = [Gallery.open(self.folder), Gallery.open(self.folder)]
            self.faces = {}  # face: (person, vector)
            self.people = {}  # person: name
            self.files = {}  # source: faces

        def pick(self, which):
            return self.handles[which]

        def number(self, name):
            return next((person for person, known in self.people.items() if known == name), None)

        def keep(self, person, name, rows, faces):
            if person is not None:
                assert self.number(name) in (None, person)
                self.people[person] = name
            self.faces |= {face: (person, row) for face, row in zip(faces, rows, strict=True)}

        def newest(self, gallery, person, count):
            return [face.id for face in gallery.faces(person)][-count:]

        @rule(which=st.integers(0, 1), name=NAMES, rows=ROWS)
        def enrol(self, which, name, rows):
            gallery = self.pick(which)
            person = gallery.enrol(name, rows)
            self.keep(person, name, rows, self.newest(gallery, person, len(rows)))

        @rule(which=st.integers(0, 1), rows=ROWS)
        def add(self, which, rows):
            self.keep(None, None, rows, self.pick(which).add_faces(rows))

        @rule(which=st.integers(0, 1), source=st.sampled_from(["x", "y"]), name=st.none() | NAMES, rows=ROWS)
        def commit(self, which, source, name, rows):
            gallery = self.pick(which)
            gallery.commit_file(FileRecord(source=source, size=1, mtime_ns=1), rows, label=name)
            for face in self.files.get(source, []):
                self.faces.pop(face, None)
            person = None if name is None else gallery.identity(name).id
            self.files[source] = self.newest(gallery, person, len(rows))
            self.keep(person, name, rows, self.files[source])

        @rule(which=st.integers(0, 1), data=st.data())
        def remove_faces(self, which, data):
            if self.faces:
                gone = data.draw(st.lists(st.sampled_from(sorted(self.faces)), unique=True, max_size=3))
                self.pick(which).remove_faces(gone)
                for face in gone:
                    del self.faces[face]

        @rule(which=st.integers(0, 1), name=NAMES)
        def remove(self, which, name):
            person = self.number(name)
            if person is not None:
                self.pick(which).remove_identity(name)
                del self.people[person]
                self.faces = {face: held for face, held in self.faces.items() if held[0] != person}

        @rule(which=st.integers(0, 1), into=NAMES, other=NAMES)
        def merge(self, which, into, other):
            target, former = self.number(into), self.number(other)
            if target is not None and former is not None and target != former:
                self.pick(which).merge(into, former)
                del self.people[former]
                self.faces = {
                    face: (target if person == former else person, row) for face, (person, row) in self.faces.items()
                }

        @rule(which=st.integers(0, 1), name=NAMES, new=NAMES)
        def rename(self, which, name, new):
            person = self.number(name)
            if person is not None and self.number(new) is None:
                self.pick(which).rename(person, new)
                self.people[person] = new

        @rule(which=st.integers(0, 1), snapshot=st.sampled_from([None, True, False]))
        def reopen(self, which, snapshot):
            self.handles[which].close(snapshot=snapshot)
            self.handles[which] = Gallery.open(self.folder, create=False)

        @rule(which=st.integers(0, 1))
        def snapshot(self, which):
            self.pick(which).snapshot()

        @rule(which=st.integers(0, 1), probes=ROWS, k=st.integers(1, 8))
        def search(self, which, probes, k):
            faces = sorted(self.faces)
            people, rows = [self.faces[face][0] for face in faces], [self.faces[face][1] for face in faces]
            found = self.pick(which).search(probes, k)
            if faces:
                expected = answer(np.array(probes), faces, people, np.array(rows), k)
                assert [[(m.identity, m.face_id, m.similarity) for m in row] for row in found] == expected
            assert all(m.name == self.people.get(m.identity) for row in found for m in row)

        @invariant()
        def listed(self):
            held = [person for person, _ in self.faces.values()]
            expected = sorted((name, person, held.count(person)) for person, name in self.people.items())
            for gallery in self.handles:
                assert [(p.name, p.id, p.faces) for p in gallery.identities()] == expected

        def teardown(self):
            try:
                for gallery in self.handles:
                    assert gallery.verify().problems == ()
            finally:
                for gallery in self.handles:
                    gallery.close()

    return History


@pytest.mark.slow
def test_any_history(tmp_path, answer):
    run_state_machine_as_test(
        machine(tmp_path, answer),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
