"""Pictures of aligned faces."""

import io

import numpy as np
import pytest
from PIL import Image

from vultus.stages.chip import chip_jpeg, chip_pixels, opened, veiled


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 100, 50)).save(file, "JPEG")
    return file.getvalue()


def test_a_chip_comes_back_from_its_file(rand: np.random.Generator) -> None:
    smooth = np.linspace(rand.integers(0, 50), 200, 112 * 112 * 3).reshape(112, 112, 3).astype(np.uint8)
    back = chip_pixels(chip_jpeg(smooth)).astype(int)
    assert np.abs(back - smooth).mean() < 2


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", jpeg(112, 96), jpeg(1200, 8)])
def test_what_is_no_chip_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        chip_pixels(data)


def test_a_veiled_chip_keeps_five_by_five_colours(rand: np.random.Generator) -> None:
    noise = np.repeat(np.repeat(rand.integers(0, 256, (28, 28, 3), np.uint8), 4, 0), 4, 1)
    shown = opened(veiled(chip_jpeg(noise)))
    assert shown is not None
    coarse = np.asarray(shown).astype(int)
    assert np.abs(coarse[2:20, 2:20] - coarse[2:20, 2:20].mean((0, 1))).max() < 12
    assert opened(veiled(b"no picture")) is not None
    assert opened(jpeg(2000, 8)) is None
