"""Calibration: the fits against scores of a known law, and a gallery with strangers, doubles and too few people."""

import math

import msgspec
import numpy as np
import pytest

from vultus.index import FaceRecord, Gallery, Policy, calibration


def scores(rand, count=4000):
    """Best impostor scores with an exponential tail, and whose they are."""
    return 0.3 + rand.gumbel(0, 0.03, count), rand.integers(1, 600, count)


def from_scores(rand, policy=None, genuine=None):
    values, people = scores(rand)
    genuine = 0.65 + 0.08 * rand.standard_normal(3000) if genuine is None else genuine
    return calibration.calibrated(
        policy or Policy(fpir=0.01), 0.0, (600, 4000), (values, people), genuine, np.zeros(4000, bool)
    )


def gumbel_above(similarity):
    return -math.expm1(-math.exp(-(similarity - 0.3) / 0.03))


@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01, 0.001, 0.0001])
def test_the_threshold_keeps_the_rate_of_a_known_law(rand, rate):
    found = from_scores(rand, Policy(fpir=rate))
    actual = gumbel_above(found.threshold_for(rate, 599))
    assert rate / 3 < actual < rate * (1.5 if rate >= 0.001 else 3), "of the right size, also beyond what was seen"
    low, high = found.threshold_between
    assert low <= found.threshold <= high
    assert found.fpir(found.threshold) == pytest.approx(rate, rel=1e-3)
    assert found.fpir_between[0] <= rate <= found.fpir_between[1]
    assert (found.extrapolated > 1) == (rate < 10 / 4000)


def test_the_fit_finds_the_shape_of_a_pareto_tail(rand):
    shape, scale = 0.2, 0.02
    over = scale / shape * ((1 - rand.random(200_000)) ** -shape - 1)
    found = calibration.fitted(0.4 + over)
    assert found.shape == pytest.approx(shape, abs=0.05)
    assert found.scale == pytest.approx(scale + shape * (found.start - 0.4), rel=0.1)
    assert found.reached_by(found.above(0.6)) == pytest.approx(0.6)
    bounded = calibration.fitted(rand.random(10_000))
    assert bounded.shape == 0, "no similarity is declared impossible"


def test_more_people_make_more_false_alarms_in_proportion(rand):
    found = from_scores(rand)
    rare = found.threshold_for(0.001)
    assert found.fpir(rare, 6000) == pytest.approx(0.01, rel=0.01)
    assert found.fpir(rare, 60_000) == pytest.approx(1 - 0.999**100, rel=0.01)
    assert found.threshold_for(0.001, 6000) > rare > found.threshold_for(0.001, 60)
    assert found.fpir(-1) == 1.0
    assert found.fpir(1.0) < 1e-6


def test_probabilities_are_calibrated_and_shared_out(rand):
    found = from_scores(rand)
    genuine, impostor = 0.65 + 0.08 * rand.standard_normal(20_000), 0.3 + rand.gumbel(0, 0.03, 20_000)
    for low, high in ((0.35, 0.45), (0.45, 0.6), (0.6, 0.9)):
        inside = [part[(part >= low) & (part < high)] for part in (genuine, impostor)]
        said = np.mean([found.probabilities([float(s)])[0] for part in inside for s in part])
        assert said == pytest.approx(len(inside[0]) / (len(inside[0]) + len(inside[1])), abs=0.08), (low, high)
    alone, (first, second) = found.probabilities([0.6])[0], found.probabilities([0.6, 0.6])
    assert first == second < 0.51 < alone
    assert found.probabilities([]) == []
    assert sum(found.probabilities([0.9, 0.8, 0.3])) <= 1
    assert from_scores(rand, genuine=np.empty(0)).probabilities([0.5]) is None
    rare = from_scores(rand, Policy(fpir=0.01, known=0.01))
    assert rare.probabilities([0.45])[0] < found.probabilities([0.45])[0]


def test_a_policy_is_a_rate_or_traffic():
    assert Policy(one_false_alarm_per="week", faces_per_day=2000).rate == pytest.approx(1 / 14000)
    for wrong in (
        {},
        {"one_false_alarm_per": "week"},
        {"fpir": 0.1, "faces_per_day": 5},
        {"one_false_alarm_per": "hour", "faces_per_day": 3},
    ):
        with pytest.raises(ValueError, match=r"say either the rate|more than one for every face"):
            Policy(**wrong)


def crowd(rand, people, each=3, dim=24):
    centres = rand.standard_normal((people, dim))
    rows = np.repeat(centres, each, axis=0) + 0.3 * rand.standard_normal((people * each, dim))
    return centres, rows, [f"p{at // each}" for at in range(people * each)]


def test_a_gallery_is_measured_kept_and_used(folder, rand):
    _, rows, names = crowd(rand, 150)
    strangers = rand.standard_normal((4000, 24))
    with Gallery.open(folder) as gallery, Gallery.open(folder) as other:
        gallery.enrol_many(names, rows)
        assert gallery.search(rows[:1], 1)[0][0].probability is None
        found = gallery.calibration.measure(Policy(fpir=0.05))
        assert (found.identities, found.faces, found.impostors + found.set_aside, found.genuine) == (150, 450, 450, 450)
        assert gallery.calibration.current() is None
        other.search(rows[:1], 1)
        gallery.calibration.keep(found)
        assert other.calibration.current() == found
        again = gallery.calibration.measure(Policy(fpir=0.05))
        assert msgspec.structs.replace(again, at=found.at) == found
        alarms = np.mean([bool(answer) for answer in gallery.search(strangers, 1, threshold=found.threshold)])
        assert 0.02 < alarms < 0.1
        assert found.fnir < 0.05
        best, next_one = other.search(rows[:1], 2)[0]
        assert best.probability > 0.99
        assert next_one.probability < 0.01
        other.calibration.forget()
        assert gallery.search(rows[:1], 1)[0][0].probability is None


def test_growth_makes_a_calibration_stale(gallery, rand):
    _, rows, names = crowd(rand, 60)
    assert gallery.calibration.stale() is None
    gallery.enrol_many(names, rows)
    gallery.calibration.keep(gallery.calibration.measure(Policy(fpir=0.05)))
    assert gallery.calibration.stale() is None
    gallery.enrol_many([f"new {at}" for at in range(30)], rand.standard_normal((30, 24)))
    assert "had 60 people with names when it was calibrated and has 90 now" in gallery.calibration.stale()


def test_too_few_people_are_said_to_be(gallery, rand):
    assert "0 people have names; 20 are needed" in gallery.calibration.measure(Policy(fpir=0.01)).why_not
    gallery.add_faces(rand.standard_normal((50, 24)))
    _, rows, names = crowd(rand, 25, each=2)
    gallery.enrol_many(names, rows)
    found = gallery.calibration.measure(Policy(fpir=0.01))
    assert "there are 50 faces of people with names; 100 are needed" in found.why_not
    assert found.threshold is None
    with pytest.raises(ValueError, match="100 are needed"):
        found.threshold_for(0.01)


def test_doubles_are_set_aside_and_named_until_denied(gallery, rand):
    centres, rows, names = crowd(rand, 200, dim=128)
    gallery.enrol_many(names, rows)
    gallery.enrol("p7 again", centres[7] + 0.3 * rand.standard_normal((2, 128)))
    (wrong,) = gallery.add_faces(centres[20:21] + 0.2, identity="p30")
    found = gallery.calibration.measure(Policy(fpir=0.01))
    assert found.set_aside >= 5
    pairs = {(one.name, one.other_name): one for one in gallery.calibration.confusable(0.8)}
    assert pairs["p7", "p7 again"].reading == "the same person twice?"
    assert pairs["p20", "p30"].other_face == wrong
    gallery.deny("p7 again", other="p7")
    gallery.deny("p20", face=wrong)
    assert ("p7", "p7 again") not in {(one.name, one.other_name) for one in gallery.calibration.confusable(0.8)}
    after = gallery.calibration.measure(Policy(fpir=0.01))
    assert after.set_aside < found.set_aside, "what a user confirmed counts"


def test_views_of_one_video_are_not_two_pictures(gallery, rand):
    _, rows, names = crowd(rand, 60)
    gallery.enrol_many(names, rows, [FaceRecord(source=f"{at // 3}.mp4") for at in range(180)])
    assert gallery.calibration.measure(Policy(fpir=0.05)).genuine == 0
