"""Profiles from Python: complete, plausible, and misuse in words. The C tests look closer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vultus.native import Engine


def test_every_layer_once(model: Path) -> None:
    engine = Engine(model, threads=2)
    start = time.perf_counter()
    profile = engine.profile(batch=3, rounds=2)
    took = time.perf_counter() - start
    assert [layer.text for layer in profile[1:-1]] == list(engine.layers)
    assert (profile[0].kind, profile[-1].kind) == ("input", "output")
    assert profile[0].group is None
    assert {layer.kind for layer in profile} >= {"planar conv", "pointwise", "depthwise", "fully connected"}
    assert all(layer.seconds > 0 for layer in profile)
    assert sum(layer.seconds for layer in profile) * 3 * 2 < took
    stem = profile[1]
    assert stem.macs == 27 * 24 * 56 * 56


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"batch": 0}, ValueError),
        ({"batch": 1025}, ValueError),
        ({"rounds": 0}, ValueError),
        ({"rounds": 1_000_001}, ValueError),
        ({"batch": 1.0}, TypeError),
        ({"rounds": True}, TypeError),
    ],
)
def test_misuse(model: Path, arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"batch|rounds"):
        Engine(model).profile(**arguments)
