"""Counters: ages in classes, and when a process is busy."""

import math
import threading
import time

import pytest

from vultus.pipeline.metrics import AGES, Counters, Meter, age_quantile, shares


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


def told(meter: Meter) -> Counters:
    return meter.snapshot(waiting=0, queued=0, lent=0)


def in_a_thread(meter: Meter, works: bool) -> None:
    thread = threading.Thread(target=meter.at_work, args=(works,))
    thread.start()
    thread.join()


def test_busy_is_while_at_least_one_thread_works(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def after(seconds: float) -> float:
        clock[0] += seconds
        return told(meter).busy

    meter = Meter()
    assert after(7.0) == 0.0, "to open stages is not to work"
    meter.turn("idle")
    assert after(1.0) == 0.0
    meter.turn("busy")
    assert after(2.0) == 2.0, "also before it is over"
    meter.at_work(False)
    assert meter.doing()[0] == "idle", "a stage that waits does not hang"
    assert after(4.0) == 2.0
    in_a_thread(meter, True)
    assert after(1.0) == 3.0
    meter.at_work(True)
    in_a_thread(meter, True)
    assert after(1.0) == 4.0, "what several do at a time counts once"
    in_a_thread(meter, False)
    meter.turn("blocked")
    assert after(1.0) == 5.0, "one of them works on"
    in_a_thread(meter, False)
    assert after(8.0) == 5.0
    assert told(meter).blocked == 9.0
    assert told(meter).uptime == 25.0


def test_shares_are_of_the_time_between() -> None:
    then = Counters(busy=100.0, cpu=400.0, uptime=500.0)
    assert shares(then, Counters(busy=101.0, cpu=406.0, uptime=504.0)) == (0.25, 1.5)
    assert shares(then, then) == (0.0, 0.0)
