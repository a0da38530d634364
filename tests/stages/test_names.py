"""What is told of the people before a camera to whoever looks at it."""

from typing import Any

import pytest
from looks import Watch, origin, toward

from vultus.configs.schema import Match as MatchConfig
from vultus.configs.schema import Privacy
from vultus.index import FaceRecord, Gallery
from vultus.pipeline.messages import Names, Who


@pytest.fixture
def watch(make: Any, gallery: Gallery) -> Watch:
    for number, name in enumerate(("Anna", "Bert", "Carla")):
        gallery.enrol(name, [toward(number)], [FaceRecord()])
    gallery.hide("Carla")
    return Watch(make("match", match=MatchConfig(threshold=0.5), privacy=Privacy(veil=("Bert",))))


def told(surroundings: Any) -> list[Who]:
    (names,) = surroundings.shown
    surroundings.shown.clear()
    assert isinstance(names, Names)
    return list(names.people)


def test_who_is_there_is_told_to_whoever_looks(watch: Watch, surroundings: Any) -> None:
    watch.see(0.0, (1, 0.5, toward(0, 0.6)))
    assert not surroundings.shown
    surroundings.look(1)
    assert watch.see(0.5, (2, 0.5, toward(1, 0.8)), (3, 0.5, toward(3)), alive=(1, 2, 3)) == [(2, "Bert")]
    anna, bert = told(surroundings)
    assert (anna.track, anna.name, anna.clear, anna.similarity) == (1, "Anna", True, pytest.approx(0.6, abs=1e-3))
    assert (bert.track, bert.name, bert.clear) == (2, "Bert", False), "he is to be veiled"
    watch.see(2.5, alive=(1, 3))
    anna, stranger = told(surroundings)
    assert (stranger.track, stranger.name, stranger.reason, stranger.clear) == (3, None, "below_threshold", False)
    assert stranger.identity is not None, "the number of an unknown person"
    watch.see(4.5, alive=())
    assert told(surroundings) == [], "nobody is there any more"


def test_of_hidden_people_nothing_is_told(watch: Watch, surroundings: Any, gallery: Gallery) -> None:
    surroundings.look(1)
    watch.see(0.0, (1, 0.5, toward(2, 0.8)), (2, 0.5, toward(0, 0.8)))
    hidden, anna = told(surroundings)
    assert hidden == Who(track=1, hidden=True)
    assert anna.clear
    gallery.hide("Anna")
    watch.see(0.5, (2, 0.9, toward(0, 0.9)), alive=(1, 2))
    assert told(surroundings) == [hidden, Who(track=2, hidden=True)], "also while they stand there"


def test_a_name_stays_when_others_come_nearer(watch: Watch, surroundings: Any) -> None:
    surroundings.look(1)
    watch.see(0.0, (1, 0.5, toward(0, 0.8)))
    assert told(surroundings)[0].name == "Anna"
    watch.stage._items.of(origin(live=True, source="camera")).people[1].names = {}
    watch.see(0.5, alive=(1,))
    (anna,) = told(surroundings)
    assert (anna.name, anna.similarity) == ("Anna", None)
