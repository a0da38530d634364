"""Who looks at which camera, and for how long."""

import pytest

from vultus.pipeline import audience
from vultus.pipeline.audience import Audience


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(audience, "monotonic", lambda: now[0])
    return now


def look(watched, item=1, seconds=5.0, *, full=False, awake=False, veiled=False):
    watched.renew(item, seconds, full=full, awake=awake, veiled=veiled)
    return watched.of(item)


def test_a_lease_ends_unless_it_is_renewed(clock):
    watched = Audience()
    assert watched.of(1) is None
    lease = look(watched)
    assert (lease.watched, lease.asked, lease.awake) == (True, False, False)
    clock[0] += 4
    look(watched)
    clock[0] += 4.9
    assert watched.of(1) is lease
    assert watched.of(2) is None
    clock[0] += 0.2
    assert watched.of(1) is None
    assert not lease.awake


def test_a_shorter_call_takes_nothing_from_a_longer_one(clock):
    watched = Audience()
    look(watched, seconds=30.0, awake=True)
    lease = look(watched, seconds=1.0)
    clock[0] += 29
    assert lease.watched
    assert lease.awake


def test_one_picture_that_is_asked_for_keeps_a_camera_awake_until_it_is_made(clock):
    lease = look(Audience(), full=True)
    assert (lease.watched, lease.asked, lease.awake) == (False, True, True)
    lease.given()
    assert (lease.asked, lease.awake, lease.over) == (False, False, True)


def test_the_last_word_about_veils_counts_and_who_may_be_seen_is_asked_anew(clock):
    watched = Audience()
    assert look(watched, veiled=True).clear == frozenset()
    watched.permit(1, [3, 4])
    assert look(watched, veiled=True).clear == {3, 4}
    assert not look(watched).veiled
    clock[0] += 6
    watched.permit(2, [5])
    assert look(watched, veiled=True).clear == frozenset()


def test_leases_that_are_over_are_forgotten(clock):
    watched = Audience()
    for item in range(100):
        look(watched, item)
        clock[0] += 1
    assert len(watched._leases) <= 6
