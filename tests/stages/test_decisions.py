"""Who a track is: templates, margins, names that hold, and people who come back."""

from typing import Any

import cv2
import numpy as np
import pytest
from looks import DIM, Watch, embedded, toward

from vultus.configs.schema import Match as MatchConfig
from vultus.index import FaceRecord, Gallery
from vultus.index.calibration import Calibration, Policy
from vultus.pipeline.messages import Sighting
from vultus.stages.template import Template


@pytest.fixture
def watch(make: Any, gallery: Gallery) -> Watch:
    gallery.enrol("Anna", [toward(0)], [FaceRecord()])
    gallery.enrol("Bert", [toward(1)], [FaceRecord()])
    return Watch(make("match", match=MatchConfig(threshold=0.5, margin=0.05, rejoin=10.0)))


def between(anna: float, bert: float) -> np.ndarray:
    """A vector at these cosines to the two."""
    vector = np.zeros(DIM, np.float32)
    vector[0], vector[1], vector[-1] = anna, bert, (1 - anna**2 - bert**2) ** 0.5
    return vector


def test_a_template_is_nearer_to_the_person_than_its_looks(rand: np.random.Generator) -> None:
    person = rand.standard_normal(256)
    person /= np.linalg.norm(person)
    looks = person + 1.2 * rand.standard_normal((6, 256)) / 16
    looks = (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32)
    template = Template()
    for quality, look in zip((0.5, 0.6, 0.7, 0.8, 0.4, 0.05), looks, strict=True):
        template.add(quality, look)
    assert np.linalg.norm(template.vector) == pytest.approx(1, abs=1e-5)
    assert float(template.vector @ person) > (looks @ person).max() + 0.1
    before = template.vector
    template.add(0.1, -person.astype(np.float32))
    assert float(template.vector @ before) > 0.999, "one that is worse than the best says nothing"
    opposite = Template()
    for sign in (1, -1):
        opposite.add(0.5, sign * looks[0])
    assert np.isfinite(opposite.vector).all()
    with pytest.raises(RuntimeError):
        _ = Template().vector


def test_who_is_near_two_people_is_neither_until_it_is_clear(watch: Watch, surroundings: Any) -> None:
    assert watch.see(0.0, (1, 0.4, between(0.66, 0.64))) == []
    assert watch.see(0.5, (1, 0.9, between(0.9, 0.2))) == [(1, "Anna")]
    assert watch.see(1.0, (2, 0.4, between(0.66, 0.64))) == []
    (message,) = [
        each
        for each in watch.stage.process([embedded(time=3.0, seq=9, live=True, source="camera")])
        if isinstance(each, Sighting)
    ]
    assert (message.track, message.name, message.reason) == (2, None, "ambiguous")
    assert surroundings.counts["ambiguous"] == 1
    assert surroundings.counts["recognised"] == 1


def test_reasons_are_counted(watch: Watch, surroundings: Any) -> None:
    watch.see(0.0, (1, 0.5, toward(0, 0.3)))
    assert watch.see(3.0) == [(1, None)]
    assert surroundings.counts["below_threshold"] == 1


def test_a_calibration_counts_for_those_who_are_watching(
    make: Any, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vultus.stages.match._CALIBRATED_EVERY", 0.0)
    gallery.enrol("Anna", [toward(0)])
    watching = Watch(make("match", match=MatchConfig(threshold=None)))
    policy = Policy(fpir=0.01)
    gallery.calibration.keep(Calibration(policy=policy, at=1.0, identities=9, faces=9, threshold=0.95))
    assert watching.see(0.0, (1, 0.9, toward(0, 0.9))) == []
    assert watching.see(3.0) == [(1, None)]
    gallery.calibration.keep(Calibration(policy=policy, at=2.0, identities=9, faces=9, threshold=0.8))
    assert watching.see(4.0, (2, 0.9, toward(0, 0.9))) == [(2, "Anna")]


def test_of_an_empty_gallery_nobody_is_known(make: Any, gallery: Gallery, surroundings: Any) -> None:
    quiet = Watch(make("match", match=MatchConfig(threshold=0.5)))
    quiet.see(0.0, (1, 0.5, toward(0)))
    assert quiet.see(3.0) == [(1, None)]
    assert surroundings.counts["nobody_known"] == 1


def test_a_name_holds_against_one_worse_look_and_against_a_slightly_nearer_one(watch: Watch) -> None:
    assert watch.see(0.0, (1, 0.8, toward(0, 0.8))) == [(1, "Anna")]
    assert watch.see(0.5, (1, 0.3, toward(1, 0.9))) == [], "one bad look of somebody else"
    assert watch.see(1.0, (1, 0.2, toward(3))) == [], "nor is it taken back"
    assert watch.see(1.5, (1, 0.9, between(0.2, 0.95))) == [(1, "Bert")], "but the best look decides"


def test_who_turned_away_and_is_back_was_there_once(watch: Watch, gallery: Gallery, surroundings: Any) -> None:
    assert watch.see(0.0, (1, 0.5, toward(0, 0.9)), alive=(1,)) == [(1, "Anna")]
    assert watch.see(4.0, alive=(1,)) == []
    assert watch.see(9.0, (2, 0.5, toward(0, 0.8)), alive=(2,)) == []
    assert surroundings.counts["rejoined"] == 1
    assert watch.see(9.5, (2, 0.8, toward(0, 0.8)), (3, 0.8, toward(1)), alive=(2, 3)) == [(3, "Bert")]
    assert watch.see(30.0, (4, 0.5, toward(0, 0.8)), alive=(4,)) == [(4, "Anna")], "a visit of its own"
    assert [(row.track, row.name) for row in gallery.sightings()] == [(1, "Anna"), (3, "Bert"), (4, "Anna")]


def test_a_stranger_who_is_back_is_the_same_stranger(watch: Watch) -> None:
    assert watch.see(0.0, (1, 0.5, toward(3)), (2, 0.5, toward(4))) == []
    assert watch.see(2.0) == [(1, None), (2, None)]
    assert watch.see(4.0, (3, 0.5, toward(3, 0.8))) == []
    assert watch.see(6.0) == []
    assert watch.see(7.0, (5, 0.5, toward(5))) == []
    assert watch.see(9.0) == [(5, None)], "another one"
    assert watch.see(9.5, (3, 0.9, toward(0, 0.99))) == [(1, "Anna")], "the sighting goes on, and is corrected"


def test_two_at_once_with_one_name_are_two(watch: Watch) -> None:
    assert watch.see(0.0, (1, 0.5, toward(0, 0.9)), alive=(1,)) == [(1, "Anna")]
    assert watch.see(0.5, (1, 0.6, toward(0, 0.9)), (2, 0.5, toward(0, 0.8)), alive=(1, 2)) == [(2, "Anna")]


def test_the_clearest_pictures_are_kept_with_the_sighting(watch: Watch, gallery: Gallery) -> None:
    def kept() -> list[float | None]:
        return [shot.quality for shot in gallery.shots(gallery.sightings()[-1].id)]

    assert watch.see(0.0, (1, 0.5, toward(0, 0.9)), alive=(1,)) == [(1, "Anna")]
    assert kept() == [0.5]
    for at, grade in enumerate((0.6, 0.7, 0.8, 0.3), start=1):
        assert watch.see(at / 2, (1, grade, toward(0, 0.9)), alive=(1,)) == []
    assert kept() == [0.8, 0.7, 0.6], "later ones too, the best three"
    assert watch.see(4.0, (2, 0.9, toward(0, 0.9)), alive=(2,)) == [], "who is back"
    assert kept() == [0.9, 0.8, 0.7]
    jpeg = gallery.shots(gallery.sightings()[-1].id)[0].jpeg
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (112, 112, 3)
    gallery.remove_identity("Anna")
    assert watch.see(4.5, (2, 0.95, toward(0, 0.9)), alive=(2,)) == []
    assert gallery.sightings() == [], "nothing of somebody who was deleted comes back"


def test_a_correction_keeps_them(watch: Watch, gallery: Gallery) -> None:
    watch.see(0.0, (1, 0.5, toward(3)), alive=(1,))
    assert watch.see(2.0, alive=(1,)) == [(1, None)]
    assert watch.see(2.5, (1, 0.9, toward(0, 0.99)), alive=(1,)) == [(1, "Anna")]
    assert [shot.quality for shot in gallery.shots(gallery.sightings()[-1].id)] == [0.9, 0.5]


def test_without_pictures(make: Any, gallery: Gallery) -> None:
    bare = Watch(make("match", match=MatchConfig(threshold=0.5, shots=0)))
    gallery.enrol("Anna", [toward(0)], [FaceRecord()])
    assert bare.see(0.0, (1, 0.5, toward(0, 0.9))) == [(1, "Anna")]
    assert gallery.shots(gallery.sightings()[-1].id) == []


def test_who_was_there_long_ago_is_forgotten(watch: Watch) -> None:
    for visit in range(50):
        watch.see(100.0 * visit, (visit + 1, 0.5, toward(0, 0.9)), alive=(visit + 1,))
    ((_, item),) = watch.stage._items._kept.values()
    assert len(item.people) <= 2
