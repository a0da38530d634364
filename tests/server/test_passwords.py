"""Which passwords are taken, and how they are kept."""

import time

import numpy as np
import pytest

from vultus.server import passwords
from vultus.server.errors import WeakPassword
from vultus.server.passwords import Cost, demand_strong, hashed, matches, outdated

CHEAP = Cost(16, 1, 1)


@pytest.mark.parametrize(
    "password",
    [
        "elevenchars",
        "password1234",
        "P@ssw0rd1234!",
        "passwordpassword",
        "aaaaaaaaaaaaaaaa",
        "abcdefghijklmnop",
        "123456789012",
        "qwertyuiop12",
        "dragonmonkeyshadow",
        "anna.schmidt1234",
        "vultusvultus12",
        "x" * 129,
        "tabs\tare no letters",
    ],
)
def test_what_anybody_would_try_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        demand_strong(password, "anna.schmidt")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery staple", "tH9!kd02mQz7", "Бегемот жуёт траву", "密码不应该太短了对不对呀", "y7" * 60],
)
def test_long_odd_and_foreign_ones_are_taken(password: str) -> None:
    if password != "y7" * 60:
        demand_strong(password, "anna.schmidt")
    demand_strong(password + "x", "anna.schmidt")


def test_judging_the_longest_takes_no_time(rand: np.random.Generator) -> None:
    words = sorted(passwords._common())
    began = time.perf_counter()
    for _ in range(20):
        demand_strong("".join(rand.choice(words, 30))[: passwords.MOST], "anna")
    assert (time.perf_counter() - began) / 20 < 0.1


def test_a_hash_is_salted_and_says_what_it_cost() -> None:
    one, other = hashed("seven quiet herons", CHEAP), hashed("seven quiet herons", CHEAP)
    assert one != other
    assert one.startswith("scrypt$16$1$1$")
    assert matches("seven quiet herons", one)
    assert matches("seven quiet herons", other)
    assert not matches("seven quiet heron", one)
    assert outdated(one, Cost(32, 1, 1))
    assert not outdated(one, CHEAP)


def test_one_way_of_writing_a_letter_is_as_good_as_another() -> None:
    assert matches("cafe\u0301 au lait noir", hashed("caf\u00e9 au lait noir", CHEAP))


def test_the_cost_is_what_owasp_recommends() -> None:
    assert Cost(2**15, 8, 3) == passwords.PASSWORDS  # one of the equally strong settings of the cheat sheet
    assert matches("seven quiet herons", hashed("seven quiet herons", passwords.PASSWORDS))
