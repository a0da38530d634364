"""Strangers become unknown people, in archives and before cameras, and are known again."""

from typing import Any

import numpy as np
import pytest
from looks import Watch, embedded, origin, toward

from vultus.configs.schema import Match as MatchConfig
from vultus.configs.schema import Store
from vultus.index import Gallery, GalleryBusy
from vultus.pipeline.messages import ItemDone, ItemEnd
from vultus.stages import store


@pytest.fixture
def watch(make: Any, gallery: Gallery) -> Watch:
    gallery.enrol("Anna", [toward(0)])
    return Watch(make("match", match=MatchConfig(threshold=0.5, rejoin=0.0)))


def stranger(watch: Watch, at: float, track: int, vector: np.ndarray, grade: float = 0.6) -> list[Any]:
    """Somebody is seen, and time goes by until it is said who it is."""
    return watch.see(at, (track, grade, vector)) + watch.see(at + 2.0)


def test_a_stranger_who_comes_again_is_the_same_one(watch: Watch, gallery: Gallery) -> None:
    for day in range(5):
        look = toward(3) + 0.1 * toward(4 + day % 3)
        assert stranger(watch, 86400.0 * day, day + 1, look / np.linalg.norm(look)) == [(day + 1, None)]
        assert stranger(watch, 86400.0 * day + 9, day + 20, toward(2)) == [(day + 20, None)]
    one, other = gallery.unknowns.people()
    seen = gallery.sightings(identity=one.id)
    assert len(seen) == len(gallery.sightings(identity=other.id)) == 5
    assert {row.name for row in seen} == {None}
    assert {one.sightings, other.sightings} == {5}
    assert (one.sources, other.sources) == (("camera",), ("camera",))
    assert gallery.face(one.best_face).chip[:2] == b"\xff\xd8"


def test_a_face_and_its_sighting_are_of_one_look(watch: Watch, gallery: Gallery) -> None:
    """So that a sighting goes along when the face is given to somebody else."""
    watch.see(10.0, (1, 0.5, toward(3)))
    watch.see(10.5, (1, 0.8, toward(3)))
    watch.see(10.9, (1, 0.6, toward(3)))
    watch.see(13.0)
    (one,) = gallery.unknowns.people()
    (face,), (row,) = gallery.faces(one.id), gallery.sightings()
    assert (face.time, face.track, face.source, face.quality) == (row.time, row.track, row.source, row.quality)
    assert face.time == 10.5
    gallery.move_faces([face.id], "Anna")
    assert gallery.sightings()[0].name == "Anna"


def test_a_stranger_who_is_named_meanwhile_is_said_anew(watch: Watch, gallery: Gallery) -> None:
    assert stranger(watch, 0.0, 1, toward(3)) == [(1, None)]
    (one,) = gallery.unknowns.people()
    gallery.unknowns.name(one.id, "Carl")
    assert watch.see(4.0, alive=(1,)) == [(1, "Carl")]
    assert [(row.name, row.identity) for row in gallery.sightings()] == [("Carl", one.id)]
    assert stranger(watch, 10.0, 2, toward(3)) == [(2, "Carl")]


def test_nothing_is_said_of_the_hidden(watch: Watch, gallery: Gallery, surroundings: Any) -> None:
    assert stranger(watch, 0.0, 1, toward(3)) == [(1, None)]
    gallery.unknowns.ignore(gallery.unknowns.people()[0].id)
    gallery.hide("Anna")
    gallery.enrol("Bert", [0.6 * toward(0) + 0.8 * toward(1)])
    assert stranger(watch, 10.0, 2, toward(3)) == []
    assert stranger(watch, 20.0, 3, toward(0)) == [], "the hidden one, not the next best"
    assert stranger(watch, 30.0, 4, toward(1)) == [(4, "Bert")]
    assert [row.track for row in gallery.sightings()] == [1, 4]
    assert surroundings.counts["hidden"] == 2


def test_a_blurred_stranger_is_nobody(watch: Watch, gallery: Gallery) -> None:
    assert stranger(watch, 0.0, 1, toward(3), grade=0.2) == [(1, None)]
    assert gallery.sightings()[0].identity is None
    assert gallery.unknowns.people() == []


def test_a_stranger_who_was_deleted_meanwhile_is_a_new_one(watch: Watch, gallery: Gallery) -> None:
    stranger(watch, 0.0, 1, toward(3))
    (one,) = gallery.unknowns.people()
    gallery.remove_identity(one.id)
    assert stranger(watch, 10.0, 2, toward(3)) == [(2, None)]
    assert gallery.unknowns.people()[0].id != one.id


@pytest.mark.parametrize("match", [MatchConfig(threshold=0.5, unknown_people=False), MatchConfig(report_unknown=False)])
def test_nothing_is_kept_of_strangers_where_that_is_not_wanted(make: Any, gallery: Gallery, match: MatchConfig) -> None:
    watch = Watch(make("match", match=match))
    assert stranger(watch, 0.0, 1, toward(3)) == ([(1, None)] if match.report_unknown else [])
    assert gallery.stats().faces == 0
    assert [row.identity for row in gallery.sightings()] == ([None] if match.report_unknown else [])


def photo(item: int, vector: np.ndarray) -> list[Any]:
    given = {"item": item, "source": f"/{item}.jpg", "still": True}
    return [embedded((1, 0.7, vector), **given), ItemEnd(origin=origin(**given), faces=1, size=1, mtime_ns=1)]


def test_an_archive_gathers_as_it_goes(make: Any, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_GATHER_EVERY", 4)
    stage = make("store", match=MatchConfig(threshold=0.5, rejoin=0.0), store=Store(keep_chips=False))
    for item in range(1, 10):
        (done,) = [each for each in stage.process(photo(item, toward(item % 2))) if isinstance(each, ItemDone)]
        assert done.status == "done"
    assert sorted(one.faces for one in gallery.unknowns.people()) == [4, 4]
    assert gallery.unknowns.pending() == 1


def test_an_archive_goes_on_when_gathering_fails(
    make: Any, gallery: Gallery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "_GATHER_EVERY", 1)

    def busy(*_args: object, **_given: object) -> None:
        raise GalleryBusy("somebody writes")

    stage = make("store", match=MatchConfig(threshold=0.5, rejoin=0.0))
    monkeypatch.setattr(stage._gallery.unknowns, "gather", busy)
    (done,) = [each for each in stage.process(photo(1, toward(1))) if isinstance(each, ItemDone)]
    assert done.status == "done"
    assert "gathered later: somebody writes" in caplog.text
    assert gallery.unknowns.pending() == 1


def test_an_archive_leaves_strangers_alone_if_told(
    make: Any, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_GATHER_EVERY", 1)
    stage = make("store", match=MatchConfig(unknown_people=False))
    list(stage.process(photo(1, toward(1))))
    assert gallery.unknowns.pending() == 1
