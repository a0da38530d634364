"""The instruction sets that can run here, and a small network as a file."""

from __future__ import annotations

from pathlib import Path

import efm3_reference as efm3
import numpy as np
import pytest

from vultus.native import cpu_features

ISAS = [name for name, state in cpu_features()["isas"].items() if state == "usable"]
SHAPE = efm3.Shape(stem=24, block=20, final=40, dim=12, stages=((2, 2, 2), (3, 1, 2), (1, 2, 2)))


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def layers(rand: np.random.Generator) -> list[efm3.Layer]:
    return efm3.make_layers(SHAPE, rand)


@pytest.fixture
def model(layers: list[efm3.Layer], tmp_path: Path) -> Path:
    """A small EFM3 file of random weights: 112 x 112 to 12 numbers."""
    path = tmp_path / "model.bin"
    path.write_bytes(efm3.write(SHAPE, layers))
    return path


@pytest.fixture
def faces(rand: np.random.Generator) -> np.ndarray:
    return rand.uniform(-1, 1, (7, 3, 112, 112)).astype(np.float32)
