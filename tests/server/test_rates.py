"""Waiting after wrong attempts, buckets and streams, by a clock that the test moves."""

import pytest

from vultus.server import attempts, rates
from vultus.server.attempts import Attempts
from vultus.server.rates import Rates, Streams


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_waiting_doubles_up_to_a_minute_and_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    tries = Attempts(clock=clock)
    waits = []
    for _ in range(12):
        assert tries.begin({"ada": 5}) == 0
        waits.append(wait := tries.begin({"ada": 5}) if len(waits) >= 4 else 0.0)
        clock.now += wait
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    clock.now += 3600
    assert [tries.begin({"ada": 5}) for _ in range(5)] == [0] * 5


def test_an_account_is_tried_less_than_100_times_an_hour() -> None:
    clock = Clock()
    tries, went = Attempts(clock=clock), 0
    end = clock.now + 3600
    while clock.now < end:
        wait = tries.begin({"ada": 5})
        went += wait == 0
        clock.now += wait
    assert went < 100


def test_many_at_once_are_no_way_around() -> None:
    tries = Attempts(clock=Clock())
    assert sum(tries.begin({"ada": 5}) == 0 for _ in range(100)) == 5


def test_right_ones_do_not_count_and_do_not_hide_wrong_ones() -> None:
    tries = Attempts(clock=Clock())
    for _ in range(50):
        assert tries.begin({"address": 3}) == 0
        tries.right("address")
    for _ in range(2):
        tries.begin({"address": 3})
        tries.begin({"address": 3})
        tries.right("address")
    tries.begin({"address": 3})
    assert tries.begin({"address": 3}) > 0
    tries.forget("address")
    assert tries.begin({"address": 3}) == 0


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    buckets = Rates(rate=2.0, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now += 1000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST", 10)
    monkeypatch.setattr(attempts, "_MOST", 10)
    buckets, tries = Rates(1.0, 1), Attempts()
    for number in range(100):
        buckets.take(number)
        tries.begin({number: 1})
    assert len(buckets._of) == len(tries._of) == 10


def test_streams_are_counted_by_address() -> None:
    streams = Streams(2)
    with streams.hold("a"), streams.hold("a"):
        assert streams.full("a")
        assert not streams.full("b")
    assert not streams.full("a")
    assert not streams._open
