"""INT8 EFM3: what the engine makes of the files that the quantiser writes, and what it says about broken ones."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import efm3_reference as efm3
import numpy as np
import pytest

from vultus.native import Engine, ModelFormatError
from vultus.weights.quantise import quantise

# Of a small network's vectors, 12 numbers each, together: rounding changes them by 0.03 to 0.2 of their length, as the
# random weights fall; something else than the network would by 1.4.
MOST = 0.35
# Of networks as they are used, on average.
MEAN_OF_GOLDEN = 0.995
# Floats around the bytes differ in their last bit, and a value between two bytes goes either way; 0.012 was seen.
MOST_BETWEEN_ISAS = 0.05


@pytest.fixture
def pictures(rand: np.random.Generator) -> np.ndarray:
    """(6, 112, 112, 3) uint8: smooth colours with some noise, as photographs are."""
    coarse = rand.integers(0, 256, (6, 8, 8, 3)).repeat(14, axis=1).repeat(14, axis=2)
    return np.clip(coarse + rand.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def int8(model: Path, pictures: np.ndarray) -> Path:
    path = model.with_name("int8.bin")
    path.write_bytes(quantise(model.read_bytes(), pictures, goal=0))
    return path


def change(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1)


def test_agrees_with_fp32(model: Path, int8: Path, pictures: np.ndarray, isa: str) -> None:
    fp32, small = Engine(model, isa=isa), Engine(int8, isa=isa, precision="int8")
    assert (fp32.precision, small.precision) == ("fp32", "int8")
    assert sum("int8" in line for line in small.layers) >= 10
    assert small.memory["weights"] < 0.6 * fp32.memory["weights"]
    assert int8.stat().st_size < 0.6 * model.stat().st_size  # the channels are few, so what each has counts
    assert change(*(one.embed_chips(pictures, normalize=False) for one in (fp32, small))) <= MOST


def test_what_moves_the_answers_most_stays_in_floats(model: Path, int8: Path, pictures: np.ndarray) -> None:
    better = model.with_name("better.bin")
    better.write_bytes(quantise(model.read_bytes(), pictures, goal=0.9999))
    bytes_of = [sum("int8" in line for line in Engine(path).layers) for path in (int8, better)]
    assert 0 < bytes_of[1] < bytes_of[0]
    assert better.stat().st_size == int8.stat().st_size
    fp32 = Engine(model).embed_chips(pictures)
    losses = [1 - cosines(fp32, Engine(path, precision="int8").embed_chips(pictures)).mean() for path in (int8, better)]
    assert losses[1] < 0.8 * losses[0]


def test_instruction_sets_agree(int8: Path, pictures: np.ndarray, isa: str) -> None:
    plain = Engine(int8, isa="scalar").embed_chips(pictures)
    assert change(plain, Engine(int8, isa=isa, threads=2).embed_chips(pictures)) <= MOST_BETWEEN_ISAS


def test_against_float64(model: Path, int8: Path, layers: list[efm3.Layer], pictures: np.ndarray) -> None:
    x = ((pictures[..., ::-1].astype(np.float32) - np.float32(127.5)) / 128).transpose(0, 3, 1, 2)
    assert np.median(cosines(efm3.compute(layers, x), Engine(int8).embed(np.ascontiguousarray(x)))) >= 1 - MOST**2 / 2


def test_weights_that_do_not_fit_in_pairs_are_computed_in_floats(int8: Path, pictures: np.ndarray) -> None:
    data = bytearray(int8.read_bytes())
    at = 92 + struct.unpack_from("<I", data, 88)[0] + 4
    for _ in range(11):  # records of the stem (5), of dw_stem (5), and the first one of the expansion
        at += 4 + struct.unpack_from("<I", data, at)[0]
    size = struct.unpack_from("<I", data, at)[0]
    before = sum("pointwise int8" in line for line in Engine(int8).layers)
    data[at + 4 : at + 4 + size] = bytes([127]) * size
    int8.write_bytes(data)
    engine = Engine(int8)
    assert sum("pointwise int8" in line for line in engine.layers) == before - 1
    assert np.isfinite(engine.embed_chips(pictures)).all()


def test_the_other_precision_is_refused_with_the_remedy(model: Path, int8: Path) -> None:
    with pytest.raises(ValueError, match="vultus models quantize"):
        Engine(model, precision="int8")
    with pytest.raises(ValueError, match="the model is INT8"):
        Engine(int8, precision="fp32")
    with pytest.raises(ValueError, match="precision is 'int4'"):
        Engine(model, precision="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (0, struct.pack("<I", 7), "a scale of activations has 7 bytes where the header implies 8"),
        (4, struct.pack("<fI", float("nan"), 0), "not a finite number"),
        (4, struct.pack("<fI", -1.0, 0), "outside 1e-20..1e20"),
        (4, struct.pack("<fI", 1e-30, 0), "outside 1e-20..1e20"),
        (4, struct.pack("<fI", 1.0, 256), "a zero point of 256"),
        (4, struct.pack("<fI", 0.0, 1), "a zero point of 1 for a scale of 0"),
    ],
)
def test_broken_records(int8: Path, offset: int, data: bytes, words: str) -> None:
    good = int8.read_bytes()
    at = 92 + struct.unpack_from("<I", good, 88)[0] + 4
    int8.write_bytes(good[: at + offset] + data + good[at + offset + len(data) :])
    with pytest.raises(ModelFormatError, match=words) as caught:
        Engine(int8)
    assert caught.value.offset is not None


def test_truncated_and_spoilt_anywhere(int8: Path, rand: np.random.Generator) -> None:
    good = int8.read_bytes()
    for size in [88, 92, *rand.integers(92, len(good), 40)]:
        int8.write_bytes(good[:size])
        with pytest.raises(ModelFormatError) as caught:
            Engine(int8, threads=1)
        assert 0 <= (caught.value.offset or 0) <= size
    for _ in range(100):
        bad = bytearray(good)
        for at in rand.integers(0, len(good), 8):
            bad[at] = rand.integers(0, 256)
        int8.write_bytes(bad)
        with contextlib.suppress(ModelFormatError):  # any other exception fails, as does whatever a sanitizer finds
            Engine(int8, threads=1).embed_chips(np.zeros((1, 112, 112, 3), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most", "least"),
    # The least of every face is to be 0.995; of xs, with its random weights, one of twelve has 0.9937.
    [("nano", 240_000, 0.995), ("tiny", 510_000, 0.995), ("standard", 1_060_000, 0.995), ("xs", 2_210_000, 0.99)],
)
def test_golden_on_real_faces(
    shared: Path, samples: tuple[Path, object], name: str, most: int, least: float, tmp_path: Path
) -> None:
    from vultus.stages.finder import FaceFinder

    chips = []
    with FaceFinder(data=samples[0].parent) as finder:
        for photo in sorted(samples[0].glob("*.jpg")):
            chips += [face.chip for face in finder.find(photo)]
    faces = np.stack(chips)
    fp32 = shared / "golden" / f"{name}.bin"
    path = tmp_path / "int8.bin"
    path.write_bytes(quantise(fp32.read_bytes(), faces))
    assert path.stat().st_size <= most
    found = cosines(Engine(fp32).embed_chips(faces), Engine(path).embed_chips(faces))
    assert found.mean() >= MEAN_OF_GOLDEN
    assert found.min() >= least
