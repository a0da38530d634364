"""Counters: ages in classes."""

import math

import pytest

from vultus.pipeline.metrics import AGES, Counters, Meter, age_quantile


def test_ages_are_counted_in_classes_and_summed_over_restarts() -> None:
    meter = Meter()
    for age in [0.015] * 90 + [0.4] * 10:
        meter.age(age)
    ages = meter.snapshot(waiting=0, queued=0, lent=0).ages
    assert sum(ages) == 100
    assert 0.01 < age_quantile(ages, 0.5) <= 0.02
    assert 0.3 < age_quantile(ages, 0.95) <= 0.5
    twice = Counters(ages=ages).plus(Counters(ages=ages)).ages
    assert sum(twice) == 200
    assert age_quantile(twice, 0.95) == pytest.approx(age_quantile(ages, 0.95))


def test_the_oldest_and_nothing() -> None:
    meter = Meter()
    assert math.isnan(age_quantile(meter.snapshot(waiting=0, queued=0, lent=0).ages, 0.5))
    meter.age(1e6)
    meter.age(-3.0)
    ages = meter.snapshot(waiting=0, queued=0, lent=0).ages
    assert ages[0] == ages[-1] == 1
    assert age_quantile(ages, 1.0) == AGES[-1]
