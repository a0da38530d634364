"""Which convolutions stay in floats: the arithmetic of it, with made-up losses in place of networks."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.weights import sensitivity

CHIPS = np.zeros((4, 8, 8, 3), np.uint8)
OWN = {
    "small": np.array([1e-4, 1e-4, 1e-4, 1e-4]),
    "dear": np.array([4e-3, 1e-3, 1e-3, 1e-3]),
    "cheap": np.array([4e-3, 1e-3, 1e-3, 1e-3]),
    "other": np.array([1e-4, 1e-4, 5e-3, 1e-4]),
}
COSTS = {"small": 10.0, "dear": 50.0, "cheap": 10.0, "other": 10.0}


@pytest.fixture(autouse=True)
def sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is the names of what is in bytes in it, and their losses add up."""

    def losses(file: bytes, chips: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.sum([OWN[name] for name in file.decode().split()], axis=0)[: len(chips)]

    monkeypatch.setattr(sensitivity, "losses", losses)


def chosen(goal: float) -> set[str]:
    def without(names: frozenset[str]) -> bytes:
        return " ".join(name for name in OWN if name not in names).encode()

    return set(
        sensitivity.in_floats(COSTS, str.encode, without, CHIPS, np.zeros((4, 2), np.float32), goal, lambda _: None)
    )


def test_nothing_where_the_goal_is_reached() -> None:
    assert chosen(0.99) == set()
    assert chosen(0) == set()


def test_what_is_worst_for_its_cost_and_no_more() -> None:
    assert chosen(0.993) == {"cheap"}


def test_each_face_counts() -> None:
    assert chosen(0.9955) == {"cheap", "other"}


def test_at_most_half_of_the_arithmetic() -> None:
    assert chosen(1) == {"small", "cheap", "other"}
