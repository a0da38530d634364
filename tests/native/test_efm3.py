"""EFM3: what the engine computes against float64, and what it says about broken files."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import efm3_reference as efm3
import numpy as np
import pytest

from vultus.native import Engine, ModelFormatError

# What the family's own verification allows. A sum of a few hundred float32 products errs by some 1e-6.
TOLERANCE = 1.3e-5


@pytest.mark.parametrize("name", ["nano", "tiny", "standard", "xs", "paper"])
def test_golden(shared: Path, name: str, isa: str) -> None:
    golden = np.load(shared / "golden" / f"{name}.npz")
    engine = Engine(shared / "golden" / f"{name}.bin", threads=2, isa=isa)
    assert engine.format == "EFM3"
    assert engine.dim == golden["y"].shape[1]
    assert np.abs(engine.embed(golden["x"]) - golden["y"]).max() <= TOLERANCE


@pytest.mark.parametrize(
    "shape",
    [
        efm3.Shape(stem=24, block=20, final=40, dim=12, stages=((2, 2, 2), (3, 1, 2), (1, 2, 2))),
        efm3.Shape(stem=7, block=3, final=17, dim=1, stages=((1, 1, 1), (2, 1, 2), (2, 1, 2), (2, 1, 2))),
        efm3.Shape(stem=33, block=9, final=8, dim=5, stages=((2, 1, 3), (1, 2, 3)), stem_stride=3),
        efm3.Shape(stem=8, block=8, final=8, dim=8, stages=((2, 2, 4),), stem_stride=4),
    ],
    ids=["usual", "odd_channels", "strides_of_3", "strides_of_4"],
)
def test_against_float64(shape: efm3.Shape, isa: str, rand: np.random.Generator, tmp_path: Path) -> None:
    layers = efm3.make_layers(shape, rand)
    path = tmp_path / "model.bin"
    path.write_bytes(efm3.write(shape, layers))
    x = rand.uniform(-1, 1, (3, 3, 112, 112)).astype(np.float32)
    engine = Engine(path, threads=1, isa=isa)
    assert engine.dim == shape.dim
    assert np.abs(engine.embed(x) - efm3.compute(layers, x)).max() <= TOLERANCE


def test_chips_are_normalised_rgb(model: Path, layers: list[efm3.Layer], rand: np.random.Generator) -> None:
    engine = Engine(model)
    assert engine.normalisation == {"mean": (127.5,) * 3, "std": (128.0,) * 3, "colour": "rgb"}
    chips = rand.integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    rgb = (chips[..., ::-1].transpose(0, 3, 1, 2).astype(np.float64) - 127.5) / 128
    assert np.abs(engine.embed_chips(chips) - efm3.compute(layers, rgb)).max() <= TOLERANCE


def refusal(path: Path, data: bytes) -> ModelFormatError:
    path.write_bytes(data)
    with pytest.raises(ModelFormatError) as caught:
        Engine(path, threads=1)
    return caught.value


@pytest.mark.parametrize(
    ("offset", "data", "byte", "words"),
    [
        (0, b"EFM4", 0, "neither an EFM3 file"),
        (4, struct.pack("<I", 2), 4, "EFM version 2, of which only 3 and 4"),
        (8, b"\2", 8, "header version 2"),
        (9, b"\0", 9, "0 stages"),
        (9, b"\11", 9, "9 stages"),
        (10, b"\5", 10, "stem kernel of 5"),
        (11, b"\0", 11, "stem stride of 0"),
        (12, b"\0\0", 12, "none may be 0"),
        (20, b"\6", 20, "global kernel of 6"),
        (21, b"\1", 21, "reserved byte"),
        (24, b"\0", 24, "stage 0 has expansion 0"),
        (24 + 3 * 8, b"\1", 48, "reserved byte"),
        (88, b"\xff\xff\xff\xff", 92, "the file ends within the JSON text"),
    ],
)
def test_header_says_which_byte(model: Path, offset: int, data: bytes, byte: int, words: str) -> None:
    good = model.read_bytes()
    error = refusal(model, good[:offset] + data + good[offset + len(data) :])
    if "global" not in words:  # that one is noticed when the strides are known, but still names its byte
        assert error.offset == byte
    assert words in str(error)
    assert re.search(rf"\(byte {error.offset}\)$", str(error))
    assert str(model) in str(error)


def test_tensor_count_and_sizes(model: Path) -> None:
    good = model.read_bytes()
    count_at = 92 + struct.unpack_from("<I", good, 88)[0]
    count = struct.unpack_from("<I", good, count_at)[0]
    error = refusal(model, good[:count_at] + struct.pack("<I", count - 1) + good[count_at + 4 :])
    assert error.offset == count_at
    assert f"{count - 1} tensors where the header implies {count}" in str(error)
    error = refusal(model, good[: count_at + 4] + struct.pack("<I", 0xFFFFFFF0) + good[count_at + 8 :])
    assert error.offset == count_at + 4
    assert "has 4294967280 bytes where the header implies 2592" in str(error)
    error = refusal(model, good[: count_at + 8] + b"\0\0\xc0\x7f" + good[count_at + 12 :])
    assert error.offset == count_at + 8
    assert "not a finite number" in str(error)
    error = refusal(model, good + b"\0")
    assert error.offset == len(good)


def test_truncated_anywhere(model: Path, rand: np.random.Generator) -> None:
    good = model.read_bytes()
    for size in [0, 1, 3, 4, 7, 8, 87, 91, *rand.integers(92, len(good), 60)]:
        error = refusal(model, good[:size])
        assert error.offset is not None
        assert 0 <= error.offset <= size


def test_random_bytes(model: Path, rand: np.random.Generator) -> None:
    good = bytearray(model.read_bytes())
    for _ in range(200):
        bad = bytearray(good)
        for at in rand.integers(0, 300, 4):
            bad[at] = rand.integers(0, 256)
        model.write_bytes(bad)
        error = outcome(model)
        assert error is None or "byte" in str(error)


def outcome(path: Path) -> ModelFormatError | None:
    """None if only weights, or the JSON text, were hit; any other exception is a failure."""
    try:
        Engine(path, threads=1)
    except ModelFormatError as error:
        return error
    return None
