"""Pictures of sightings: kept with them, replaced with them, gone with them; and what is deleted because it is old."""

import time
import zipfile

import pytest

from vultus.configs.schema import Retention
from vultus.index import FaceRecord, Gallery, Pruned, Shot, Sighting

DAY = 86400.0
PICTURE = b"\xff\xd8" + b"an unmistakable face " * 50
NOTHING = Retention(shots_days=None, journal_days=None)


def seen(track=1, at=1.0, identity=None):
    return Sighting(run="r", source="door", track=track, time=at, identity=identity)


def shot(quality, at=1.0, jpeg=PICTURE):
    return Shot(jpeg=jpeg, time=at, quality=quality)


def test_pictures_follow_their_sighting(place):
    with Gallery.open(place) as gallery:
        ada = gallery.enrol("Ada", [[1.0, 0.0]])
        first = gallery.add_sighting(seen(), [shot(0.4), shot(0.6, jpeg=b"clearest")])
        assert [(one.quality, one.jpeg) for one in gallery.shots(first)] == [(0.6, b"clearest"), (0.4, PICTURE)]
        corrected = gallery.add_sighting(seen(identity=ada), [shot(0.7)])
        assert gallery.shots(first) == []
        gallery.keep_shots({corrected: [shot(0.8), shot(0.9)], first: [shot(1.0)]})
        assert [one.quality for one in gallery.shots(corrected)] == [0.9, 0.8]
        assert gallery.shots(first) == [], "nothing is kept of a sighting that is gone"
        gallery.remove_identity("Ada")
        assert gallery.shots(corrected) == []


@pytest.mark.parametrize("jpeg", [b"", bytes((1 << 20) + 1), "text"])
def test_what_is_no_picture(gallery, jpeg):
    with pytest.raises(ValueError, match="bytes of JPEG"):
        gallery.add_sighting(seen(), [shot(0.5, jpeg=jpeg)])
    assert gallery.sightings() == []


def test_the_bytes_go_with_the_person_and_with_time(folder):
    with Gallery.open(folder) as gallery:
        ada = gallery.enrol("Ada", [[1.0, 0.0]])
        for track, person in ((1, ada), (2, None)):
            gallery.add_sighting(seen(track, identity=person), [shot(0.5, jpeg=PICTURE + b"%d" % track)])
        assert holding(folder, PICTURE + b"1")
        gallery.remove_identity("Ada")
        assert not holding(folder, PICTURE + b"1")
        assert holding(folder, PICTURE + b"2")
        gallery.prune(Retention(shots_days=1.0))
        gallery.compact()
        assert not holding(folder, PICTURE)


def holding(folder, data):
    return [path.name for path in folder.iterdir() if data in path.read_bytes()]


def test_under_a_key_and_in_the_export(folder, tmp_path):
    with Gallery.open(folder) as gallery:
        number = gallery.add_sighting(seen(identity=gallery.enrol("Ada", [[1.0, 0.0]])), [shot(0.5)])
        gallery.set_key(bytes(32))
        gallery.compact()
        assert not holding(folder, PICTURE)
        assert gallery.shots(number)[0].jpeg == PICTURE
        gallery.export("Ada", tmp_path / "ada.zip")
    with zipfile.ZipFile(tmp_path / "ada.zip") as archive:
        assert archive.read(f"shots/{number}/1.jpg") == PICTURE


def test_each_thing_has_its_days(place):
    now = time.time()
    with Gallery.open(place) as gallery:
        old = gallery.add_sighting(seen(1, now - 10 * DAY), [shot(0.5, now - 10 * DAY)])
        new = gallery.add_sighting(seen(2, now - 3 * DAY), [shot(0.5, now - 3 * DAY)])
        assert gallery.prune(NOTHING, now) == Pruned()
        assert not gallery.prune(Retention(shots_days=20.0), now)
        assert gallery.prune(Retention(shots_days=5.0), now) == Pruned(shots=1)
        assert [len(gallery.shots(number)) for number in (old, new)] == [0, 1]
        assert gallery.prune(Retention(shots_days=5.0, sightings_days=2.0), now) == Pruned(shots=1, sightings=2)
        assert gallery.sightings() == []
        assert gallery.add_sighting(seen()) > new


def test_strangers_whom_a_camera_saw_long_ago_are_forgotten(place):
    now = time.time()
    with Gallery.open(place) as gallery:
        gallery.add_faces(
            [[1.0, 0.0, 0.0]], [FaceRecord(source="door", time=now - 9 * DAY)], gallery.enrol("Ada", [[1, 0, 0]])
        )
        vectors = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        records = [FaceRecord(source="door", time=now - days * DAY) for days in (9, 1)]
        gone, stays = (
            gallery.unknowns.place(vectors[at : at + 1], records[at : at + 1], 0.6)[0].identity for at in range(2)
        )
        assert gallery.prune(Retention(strangers_days=5.0), now) == Pruned(strangers=1)
        assert [person.id for person in gallery.unknowns.people()] == [stays]
        assert gallery.identity("Ada").faces == 2
        assert gone != stays
        assert gallery.search([vectors[0]], 5)[0][0].similarity < 0.5
        assert gallery.verify().ok


def test_a_pruned_journal_and_who_follows_it(folder, vectors, caplog):
    with Gallery.open(folder) as gallery, Gallery.open(folder) as follower:
        gallery.enrol("Ada", vectors(1))
        assert follower.search(vectors(1), 1)[0][0].name == "Ada"
        for name in ("Bert", "Cleo"):
            probe = vectors(1)
            gallery.enrol(name, probe)
        assert gallery.prune(Retention(journal_days=1.0), time.time() + 2 * DAY).changes == 3
        assert follower.search(probe, 1)[0][0].name == "Cleo"
        assert "its journal was pruned" in caplog.text
        assert gallery.prune(Retention(journal_days=1.0), time.time() + 2 * DAY).changes == 0, "the newest stays"
        gallery.snapshot()
        assert gallery.verify().ok
