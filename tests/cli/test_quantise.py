"""`vultus models quantize`: an FP32 file becomes an INT8 one that answers alike, and what cannot become one is refused."""

from pathlib import Path
from typing import Any

import efm3_reference as efm3
import numpy as np
import pytest
from cli_process import Run

from vultus.native import Engine
from vultus.weights.verify import INT8_TOLERANCE, verify

SHAPE = efm3.Shape(stem=16, block=32, final=64, dim=32, stages=((2, 2, 2), (2, 1, 2), (1, 1, 2)))


@pytest.fixture
def fp32(rand: np.random.Generator, tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(efm3.write(SHAPE, efm3.make_layers(SHAPE, rand)))
    return path


def test_a_file_is_quantised_with_the_faces_of_a_folder(
    fp32: Path, samples: tuple[Path, Any], tmp_path: Path, vultus: Run
) -> None:
    told = vultus("models", "quantize", fp32, "--calibrate", samples[0], "--json").json
    made = tmp_path / "model.int8.bin"
    assert Path(told["file"]) == made
    assert told["bytes"] == made.stat().st_size
    assert told["bytes"] < 0.5 * fp32.stat().st_size
    assert told["chips"] > 0
    assert 0 < told["convolutions_in_floats"] < told["convolutions"]  # the first and the last ones at least
    assert told["cosine_mean"] > 0.9
    assert Engine(made).precision == "int8"
    with pytest.raises(ValueError, match="vultus models quantize"):
        Engine(fp32, precision="int8")
    verdict = verify(made, against=fp32, samples=1)  # by the tolerance of INT8, of which this narrow network needs more
    assert verdict.tolerance == INT8_TOLERANCE
    assert all(one.cosine is not None and 0.9 < one.cosine < 1 - 1e-5 for one in verdict.differences)
    refused = vultus("models", "quantize", made, code=2)
    assert made.name in refused.err


def test_what_has_no_faces_or_is_no_model_is_refused_in_a_line(fp32: Path, tmp_path: Path, vultus: Run) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    told = vultus("models", "quantize", fp32, "--calibrate", empty, code=2)
    assert "empty" in told.err
    assert told.err.count("\n") <= 2
    text = tmp_path / "notes.txt"
    text.write_text("no model")
    assert "notes.txt" in vultus("models", "quantize", text, code=2).err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "model.bin", "notes.txt"]
