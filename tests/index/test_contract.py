"""What a gallery promises wherever it is: the same tests of one in a folder and of one in a PostgreSQL database."""

import signal
import sqlite3
import time

import numpy as np
import pytest
from msgspec import structs

from vultus.configs import DatabaseUrl
from vultus.index import (
    FaceRecord,
    FileFaces,
    FileRecord,
    Gallery,
    GalleryBusy,
    GalleryClosed,
    GalleryNotFound,
    ModelMismatch,
    NameTaken,
    Policy,
    Sighting,
    UnknownFace,
    UnknownFormat,
    UnknownIdentity,
    Where,
    postgres_schema,
    schema,
    transfer,
)

DIM = 24


@pytest.fixture
def gallery(place):
    with Gallery.open(place) as gallery:
        yield gallery


def names(gallery, probe, k=10, **more):
    return [match.name for match in gallery.search(probe, k, **more)[0]]


def test_a_gallery_is_made_only_if_that_is_wanted(place):
    with pytest.raises(GalleryNotFound):
        Gallery.open(place, create=False)
    with Gallery.open(place, model="one") as gallery:
        assert gallery.identities() == []
        assert gallery.search(np.eye(3), 5) == [[], [], []]
        gallery.enrol("Ada", np.eye(DIM)[:1])
    with Gallery.open(place, create=False) as gallery:
        assert (gallery.model, gallery.dim) == ("one", DIM)
        assert names(gallery, np.eye(DIM)[:1]) == ["Ada"]
    with pytest.raises(ModelMismatch, match="holds vectors of the model one, but two"):
        Gallery.open(place, model="two")
    with pytest.raises(GalleryClosed):
        gallery.identities()


def test_people_and_faces(gallery, vectors):
    ada = gallery.enrol(
        "Ada", vectors(2, DIM), [FaceRecord(source="a.jpg", chip=b"jpeg", box=(1, 2, 3, 4)), FaceRecord()]
    )
    assert gallery.enrol(" Ada", vectors(1, DIM)) == ada
    assert gallery.enrol_many(["Bob", "Ada", "Zoë"], vectors(3, DIM))[1] == ada
    alone = gallery.add_faces(vectors(2, DIM), [FaceRecord(time=5.0, track=7, quality=0.5)] * 2)
    assert [(one.name, one.faces) for one in gallery.identities()] == [("Ada", 4), ("Bob", 1), ("Zoë", 1)]
    first = gallery.faces("Ada")[0]
    assert (first.source, first.box, first.vector) == ("a.jpg", (1, 2, 3, 4), None)
    face = gallery.face(first.id)
    assert face.chip == b"jpeg"
    assert face.vector.dtype == np.float32
    assert abs(np.linalg.norm(face.vector) - 1) < 1e-6
    assert [(one.id, one.time, one.track) for one in gallery.faces(None)] == [(alone[0], 5.0, 7), (alone[1], 5.0, 7)]
    gallery.rename("Bob", "Robert")
    with pytest.raises(NameTaken, match="'Ada' is already the name"):
        gallery.rename("Robert", "Ada")
    gallery.merge("Ada", "Robert")
    with pytest.raises(UnknownIdentity):
        gallery.identity("Robert")
    assert gallery.identity("Ada").faces == 5
    with pytest.raises(UnknownFace):
        gallery.remove_faces([alone[0], 999])
    assert len(gallery.faces(None)) == 2
    gallery.remove_faces(alone[:1])
    gallery.remove_identity("Ada")
    assert [one.name for one in gallery.identities()] == ["Zoë"]
    assert gallery.enrol("Ada", vectors(1, DIM)) > ada  # no number comes twice
    assert gallery.add_faces(vectors(1, DIM))[0] > alone[1]
    assert gallery.verify().problems == ()
    stats = gallery.stats()
    assert (stats.identities, stats.faces) == (2, 4)


def test_a_call_that_fails_has_done_nothing(gallery, vectors):
    gallery.enrol("Ada", vectors(1, DIM))
    before = gallery.stats()
    with pytest.raises(ValueError, match="chip"):
        gallery.enrol("Bob", vectors(2, DIM), [FaceRecord(), FaceRecord(chip=bytes(2 << 20))])
    with pytest.raises(ValueError, match="have 7 numbers each"):
        gallery.enrol("Bob", vectors(1, 7))
    with pytest.raises(UnknownIdentity):
        gallery.add_sighting(Sighting(run="r", source="s", track=1, time=0.0, identity=99))
    assert (gallery.stats().identities, gallery.stats().faces) == (before.identities, before.faces)
    gallery.enrol("Bob", vectors(1, DIM))


def test_files_are_counted_once(gallery, vectors):
    record = FileRecord(source="a/1.jpg", size=5, mtime_ns=2**62, digest=b"x")
    assert gallery.file_state("a/1.jpg", 5, 2**62) == "new"
    assert gallery.commit_file(record, vectors(3, DIM), label="Ada") == 3
    assert gallery.commit_file(record, vectors(2, DIM), label="Ada") == 2
    gallery.refuse_file(FileRecord(source="b/2.jpg", size=1, mtime_ns=1), "no picture")
    gallery.commit_files([FileFaces(record=FileRecord(source="a/3.jpg", size=1, mtime_ns=1), vectors=vectors(1, DIM))])
    assert gallery.identity("Ada").faces == 2
    assert gallery.file_state("a/1.jpg", 5, 1, b"x") == "done"
    assert gallery.file_state("a/1.jpg", 6, 2**62, b"x") == "changed"
    assert gallery.file_state("b/2.jpg", 1, 1) == "refused"
    assert sorted(gallery.known_files("a/")) == ["a/1.jpg", "a/3.jpg"]
    assert gallery.known_files()["b/2.jpg"].reason == "no picture"


def test_sightings_have_a_cursor(gallery, vectors):
    ada = gallery.enrol("Ada", vectors(1, DIM))
    first = gallery.add_sighting(Sighting(run="r", source="door", track=1, time=1.0, identity=ada, similarity=0.5))
    second = gallery.add_sighting(Sighting(run="r", source="gate", track=1, time=2.0))
    again = gallery.add_sighting(Sighting(run="r", source="door", track=1, time=3.0, box=(1, 2, 3, 4)))
    assert first < second < again
    assert [one.id for one in gallery.sightings()] == [second, again]
    assert [one.id for one in gallery.sightings(second)] == [again]
    assert [one.time for one in gallery.sightings(source="gate")] == [2.0]
    assert gallery.sightings(identity=ada) == []


@pytest.mark.slow
def test_both_give_the_same_answers(tmp_path, database, rand, answer):
    """Several thousand vectors, with equal ones, people of many faces, nobody's faces, and filters: equal to the last bit."""
    count, dim = 4000, 48
    pictures = rand.standard_normal((count, dim)).astype(np.float32)
    pictures[1::50] = pictures[0::50]  # equal ones: the older comes first
    owners = rand.integers(0, 300, count)
    owners[rand.random(count) < 0.3] = 7  # one has more faces than any search fetches at first
    records = [FaceRecord(source=f"{at % 9}/{at}.jpg", time=float(at)) for at in range(count)]
    probes = np.concatenate((rand.standard_normal((20, dim)), pictures[:10], pictures[owners == 7][:5]))
    with Gallery.open(tmp_path / "g") as folder, Gallery.open(database()) as remote:
        for gallery in (folder, remote):
            gallery.enrol_many([f"person {owner}" for owner in owners], pictures, records)
            gallery.add_faces(pictures[:100] + 0.1, [FaceRecord(source="alone")] * 100)
            gallery.merge("person 3", "person 4")
            gallery.remove_identity("person 5")
            gallery.remove_faces([1, 11, 500])
            gallery.hide("person 9")
            gallery.deny("person 10", face=102)
            gallery.deny("person 11", other="person 12")
        wheres = (
            None,
            Where(labelled=True),
            Where(labelled=False),
            Where(source="3/"),
            Where(source="alone"),
            Where(after=3900.0),
            Where(before=40.0, source="1/"),
            Where(source="nowhere"),
            Where(hidden=None),
            Where(hidden=True),
            Where(people=("person 7", "person 9"), hidden=None),
        )
        for where in wheres:
            for k, threshold in ((1, None), (8, 0.2), (40, None)):
                expected = folder.search(probes, k, threshold, where)
                assert remote.search(probes, k, threshold, where) == expected
            assert remote.search(probes[:4], 3, where=where, faces=4) == folder.search(
                probes[:4], 3, where=where, faces=4
            )
            assert remote.search_faces(probes, 9, where=where) == folder.search_faces(probes, 9, where=where)
        assert remote.search(probes[:1], 400) == folder.search(probes[:1], 400)
        assert remote.convert("hnsw") == "hnsw"
        found = [[match.identity for match in row] for row in remote.search(probes, 3)]
        expected = [[match.identity for match in row] for row in folder.search(probes, 3)]
        assert sum(a == b for a, b in zip(found, expected, strict=True)) >= 0.9 * len(probes)
        assert remote.search(probes, 3, where=Where(source="alone")) == folder.search(
            probes, 3, where=Where(source="alone")
        )
        assert remote.stats().index == "hnsw"
        remote.enrol("new", probes[:1])
        assert names(remote, probes[:1], 1) == ["new"]
        assert remote.convert("flat") == "flat"
        assert remote.compact() > 0


def told(gallery):
    """What users see of a gallery, and all that is kept of its faces."""
    people = gallery.identities(hidden=None)
    faces = [gallery.faces(one.id) for one in people] + [gallery.faces(None)]
    whole = [gallery.face(one.id) for part in faces for one in part]
    kept = [(one.id, one.chip, None if one.vector is None else one.vector.tobytes()) for one in whole]
    acts = [(one.kind, one.summary, one.undone) for one in gallery.acts()]
    faces = [[structs.astuple(one) for one in part] for part in faces]
    return people, faces, kept, gallery.sightings(), gallery.denials(), acts, gallery.known_files()


@pytest.mark.parametrize("other", ["folder", "database"])
def test_a_backup_is_restored_wherever_that_is(gallery, vectors, tmp_path, other, request):
    records = [FaceRecord(source=f"{at}.jpg", chip=bytes([at]), time=float(at), track=at) for at in range(8)]
    gallery.enrol_many(["Ada", "Bob", "Zoë", "Ada"] * 2, vectors(8, DIM), records)
    gallery.commit_file(FileRecord(source="x", size=1, mtime_ns=2, digest=b"3"), vectors(2, DIM))
    gallery.add_sighting(Sighting(run="r", source="door", track=1, time=1.0, identity=gallery.identity("Bob").id))
    gallery.deny("Ada", face=gallery.faces("Zoë")[0].id)
    gallery.merge("Ada", "Bob")
    gallery.hide("Zoë")
    gallery.remove_faces([10])
    probes = vectors(5, DIM)
    before, answers = told(gallery), gallery.search(probes, 5)
    file = tmp_path / "copy"
    assert gallery.backup(file) == file.stat().st_size
    with pytest.raises(OSError, match="is there already"):
        gallery.backup(file)
    place = str(tmp_path / "other") if other == "folder" else request.getfixturevalue("database")()
    Gallery.restore(file, place)
    with pytest.raises(OSError, match=r"not empty|already"):
        Gallery.restore(file, place)
    with Gallery.open(place, create=False) as again:
        assert told(again) == before
        assert again.search(probes, 5) == answers
        assert again.verify().problems == ()
        assert again.add_faces(vectors(1, DIM)) == [11], "a number is never given twice"
        again.undo(2)
        assert [one.name for one in again.identities()] == ["Ada", "Bob", "Zoë"]


def test_a_gallery_moves_to_another_model(place, gallery, vectors):
    gallery.close()
    with Gallery.open(place, model="old") as gallery, Gallery.open(place, model="old") as other:
        gallery.enrol_many(["Ada", "Bob", "Zoë"], vectors(3, DIM), [FaceRecord(chip=b"chip")] * 3)
        probe, new = vectors(1, DIM), vectors(2, 8)
        expected = gallery.search(probe, 3)
        gallery.migration.start("new", 8)
        with pytest.raises(ModelMismatch, match="is on its way to the model new"):
            other.migration.start("third", 8)
        gallery.migration.put([1, 2], new)
        assert gallery.search(probe, 3) == other.search(probe, 3) == expected
        assert not gallery.migration.finish()
        (face,) = gallery.migration.pending(0, 10)
        assert (face.id, face.chip) == (3, b"chip")
        gallery.migration.lack({3: "no face"})
        assert gallery.migration.finish()
        assert (gallery.model, gallery.dim, gallery.migration.state) == ("new", 8, None)
        assert gallery.migration.reasons() == {"no face": 1}
        assert [names(gallery, row[None], 1) for row in new] == [["Ada"], ["Bob"]]
        assert [one.name for one in gallery.identities()] == ["Ada", "Bob", "Zoë"]
        assert gallery.verify().problems == ()
        for call in (lambda: other.search(probe, 3), lambda: other.enrol("late", vectors(1, DIM))):
            with pytest.raises(ModelMismatch, match="has moved from the model old to new; open it again with that"):
                call()
    with Gallery.open(place, model="new") as gallery:
        assert names(gallery, new[:1], 1) == ["Ada"]
        gallery.migration.start("third", 4)
        gallery.migration.abandon()


def test_a_calibration_is_measured_kept_and_used(gallery, rand):
    centres = rand.standard_normal((80, DIM))
    people = np.arange(240) // 3
    records = [FaceRecord(source=f"{at}.jpg") for at in range(240)]
    gallery.enrol_many([f"p{at}" for at in people], centres[people] + 0.2 * rand.standard_normal((240, DIM)), records)
    measured = gallery.calibration.measure(Policy(fpir=0.05))
    assert measured.threshold is not None
    assert gallery.calibration.current() is None
    gallery.calibration.keep(measured)
    assert gallery.calibration.current() == measured
    (match,) = gallery.search(centres[:1], 1)[0]
    assert match.name == "p0"
    assert match.probability > 0.5
    assert gallery.calibration.stale() is None


def test_acts_are_undone(gallery, vectors):
    ada, bob = gallery.enrol("Ada", vectors(3, DIM)), gallery.enrol("Bob", vectors(2, DIM))
    gallery.merge(ada, bob)
    assert gallery.identity(ada).faces == 5
    gallery.undo()
    assert [(one.name, one.faces) for one in gallery.identities()] == [("Ada", 3), ("Bob", 2)]
    faces = [face.id for face in gallery.faces(ada)]
    split = gallery.split(ada, faces[1:], "Eve")
    assert gallery.identity("Eve").id == split
    gallery.rename("Eve", "Eva")
    assert [one.kind for one in gallery.acts(2)] == ["rename", "split"]
    assert [one.kind for one in gallery.acts(1, kind="split")] == ["split"]
    with pytest.raises(ValueError, match="at least 1"):
        gallery.acts(0)
    gallery.undo()
    gallery.undo()
    assert gallery.identity(ada).faces == 3


def test_strangers_become_unknown_people(gallery, rand):
    centres = rand.standard_normal((4, DIM))
    seen = np.concatenate([centre + 0.05 * rand.standard_normal((6, DIM)) for centre in centres])
    gallery.enrol("Ada", centres[:1])
    gallery.add_faces(seen, [FaceRecord(source="door", quality=0.9, time=float(at)) for at in range(len(seen))])
    assert gallery.unknowns.pending() == 24
    gallery.unknowns.gather(0.5)
    there = gallery.unknowns.people()
    assert sorted(one.faces for one in there) == [6, 6, 6, 6][: len(there)]
    assert len(there) >= 3
    named = gallery.unknowns.name(there[0].id, "Eve")
    assert gallery.identity("Eve").id == named
    assert gallery.verify().problems == ()


OTHER = """
import sys
import numpy as np
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
gallery.close()
"""


def test_two_processes_see_what_each_other_writes(place, python):
    probe = np.eye(8)[:1]
    with Gallery.open(place) as gallery:
        other = python(OTHER, place)
        assert other.stdout.readline() == "open\n"

        def there(line):
            print(line, file=other.stdin, flush=True)
            assert other.stdout.readline() == "done\n"

        gallery.enrol("Ada", probe)
        there("assert gallery.search(np.eye(8)[:1], 1)[0][0].name == 'Ada'; gallery.enrol('Bob', np.eye(8)[1:2])")
        assert names(gallery, probe) == ["Ada", "Bob"]
        there("gallery.merge('Bob', 'Ada'); gallery.rename('Bob', 'Rob')")
        assert names(gallery, probe) == ["Rob"]
        there("gallery.remove_identity('Rob')")
        assert names(gallery, probe) == []


def test_a_busy_gallery_names_who_writes(place, python):
    other = python(
        "import sys; from vultus.index import Gallery; gallery = Gallery.open(sys.argv[1]);"
        "held = gallery._store.frozen(); held.__enter__(); print('held', flush=True); sys.stdin.read()",
        place,
    )
    assert other.stdout.readline() == "held\n"
    with Gallery.open(place, busy_timeout=0.2) as gallery:
        begun = time.monotonic()
        assert gallery.search(np.eye(3), 1) == [[], [], []]
        with pytest.raises(GalleryBusy, match=f"process {other.pid} "):
            gallery.enrol("Ada", np.eye(3)[:1])
        assert time.monotonic() - begun < 8
        other.kill()
        other.wait()
        gallery.enrol("Ada", np.eye(3)[:1])


WRITER = """
import sys
import numpy as np
from vultus.index import Gallery
rand = np.random.default_rng(int(sys.argv[2]))
gallery = Gallery.open(sys.argv[1])
print("open", flush=True)
for at in range(10**9):
    gallery.enrol(f"{sys.argv[2]}-{at}", rand.standard_normal((25, 32)))
    print(at, flush=True)
"""


@pytest.mark.slow
def test_killed_while_it_writes(place, python, rand):
    for number in range(3):
        writer = python(WRITER, place, number)
        assert writer.stdout.readline() == "open\n"
        time.sleep(rand.uniform(0.0, 0.3))  # not a wait for anything: the random moment
        writer.send_signal(signal.SIGKILL)
        acknowledged = {f"{number}-{line}" for line in writer.stdout.read().split("\n")[:-1]}
        writer.wait()
        with Gallery.open(place, create=False) as gallery:
            faces = {one.name: one.faces for one in gallery.identities()}
            assert acknowledged <= faces.keys()
            assert set(faces.values()) <= {25}
            assert gallery.verify().problems == ()


def test_a_newer_format_is_refused(place, request):
    Gallery.open(place).close()
    if place.startswith("postgresql"):
        from vultus.index.postgres import PostgresStore

        store = PostgresStore.open(DatabaseUrl(place), create=False, busy_timeout=1)
        with store.write() as connection:
            connection.execute("UPDATE gallery SET format = 99")
        store.close()
    else:
        database = sqlite3.connect(f"{place}/gallery.sqlite3")
        database.execute("PRAGMA user_version = 99")
        database.close()
    with pytest.raises(UnknownFormat, match="has gallery format 99, this program reads up to"):
        Gallery.open(place)


def test_both_have_the_same_tables(tmp_path, database):
    """A change to the tables of one is one to those of the other."""
    there = {}
    with Gallery.open(tmp_path / "g") as folder, folder._store.read() as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if not table.startswith("sqlite_"):
                there[table] = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    with Gallery.open(database()) as remote, remote._store.read() as connection:
        rows = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "ORDER BY table_name, ordinal_position"
        ).fetchall()
    found = {table: [column for name, column in rows if name == table] for table, _ in rows}
    found["gallery"].remove("format")  # SQLite has a place of its own for that
    assert found == there
    copied = {"gallery", "vectors", *transfer._NUMBERED, *transfer._OF_FACES, *transfer._SMALL}
    assert copied == set(there), "a backup of a gallery in a database has them all"
    assert postgres_schema.FORMAT == schema.FORMAT
