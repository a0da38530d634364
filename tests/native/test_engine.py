"""The Python border: arguments, threads, answers that do not depend on how they are asked for."""

from __future__ import annotations

import doctest
import os
import pickle
import threading
from pathlib import Path

import efm3_reference as efm3
import numpy as np
import pytest

import vultus.native
from vultus.native import Engine, ModelFormatError, UnsupportedModelError, build_info, cpu_features, peak_gflops


def test_properties(model: Path) -> None:
    engine = Engine(str(model), threads=3)
    assert (engine.dim, engine.input_size, engine.threads) == (12, (112, 112), 3)
    assert engine.isa in cpu_features()["isas"]
    assert engine.layers[0].startswith("planar conv 3x3/2 3x112x112 -> 24x56x56 +prelu")
    assert any("+residual" in layer for layer in engine.layers)
    assert engine.memory["weights"] > 0
    assert str(model) in repr(engine)


def test_threads_0_is_what_the_process_may_use(model: Path) -> None:
    allowed = os.sched_getaffinity(0)
    assert Engine(model).threads == len(allowed)
    one = {min(allowed)}
    os.sched_setaffinity(0, one)
    try:
        assert Engine(model).threads == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_no_faces(model: Path) -> None:
    engine = Engine(model)
    for y in (
        engine.embed(np.empty((0, 3, 112, 112), np.float32)),
        engine.embed_chips(np.empty((0, 112, 112, 3), "u1")),
    ):
        assert y.shape == (0, 12)
        assert y.dtype == np.float32


def test_same_answer_alone_and_in_company(model: Path, faces: np.ndarray, isa: str) -> None:
    alone = np.concatenate([Engine(model, threads=1, isa=isa).embed(face[None]) for face in faces])
    for threads in (1, 2, 5):
        assert np.array_equal(Engine(model, threads=threads, isa=isa).embed(faces), alone)
    assert np.abs(np.linalg.norm(alone, axis=1) - 1).max() < 1e-6


def test_instruction_sets_agree(model: Path, faces: np.ndarray) -> None:
    answers = {
        name: Engine(model, isa=name).embed(faces)
        for name, state in cpu_features()["isas"].items()
        if state == "usable"
    }
    for name, y in answers.items():
        assert np.abs(y - answers["scalar"]).max() < 2e-6, name


def test_not_normalised(model: Path, faces: np.ndarray) -> None:
    engine = Engine(model)
    raw = engine.embed(faces, normalize=False)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 1e-3
    assert np.abs(raw / lengths - engine.embed(faces)).max() < 1e-6


def test_bad_face_spoils_only_its_own_vector(model: Path, faces: np.ndarray) -> None:
    engine = Engine(model, threads=1)
    good = engine.embed(faces)
    faces[2] = np.nan
    y = engine.embed(faces)
    assert np.isnan(y[2]).any()
    assert np.array_equal(np.delete(y, 2, 0), np.delete(good, 2, 0))


def test_read_only_arrays_are_fine(model: Path, faces: np.ndarray) -> None:
    faces.flags.writeable = False
    Engine(model).embed(faces)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([[1.0]], TypeError, "must be a numpy array, not list"),
        (np.zeros((1, 3, 112, 112)), TypeError, "dtype float64; it must be float32"),
        (np.zeros((3, 112, 112), np.float32), ValueError, r"\(3, 112, 112\); it must be \(n, 3, 112, 112\)"),
        (np.zeros((1, 112, 112, 3), np.float32), ValueError, "it must be"),
        (np.zeros((1, 3, 112, 96), np.float32), ValueError, "it must be"),
        (np.zeros((1, 112, 112, 3), np.float32).transpose(0, 3, 1, 2), ValueError, "not C-contiguous"),
        (np.zeros((4, 3, 112, 112), np.float32)[::2], ValueError, "not C-contiguous"),
        (np.zeros((1, 3, 112, 112), ">f4"), TypeError, "dtype"),
    ],
)
def test_wrong_faces(model: Path, x: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Engine(model).embed(x)


@pytest.mark.parametrize(
    ("chips", "error", "words"),
    [
        (None, TypeError, "not NoneType"),
        (np.zeros((1, 112, 112, 3), np.int8), TypeError, "dtype int8; it must be uint8"),
        (np.zeros((1, 3, 112, 112), np.uint8), ValueError, r"it must be \(n, 112, 112, 3\)"),
        (np.zeros((1, 112, 112, 3), np.uint8)[..., ::-1], ValueError, "not C-contiguous"),
    ],
)
def test_wrong_chips(model: Path, chips: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Engine(model).embed_chips(chips)


def test_wrong_options(model: Path) -> None:
    with pytest.raises(ValueError, match="isa is 'sse9'; it must be one of 'auto', 'scalar', 'avx2', 'neon'"):
        Engine(model, isa="sse9")
    with pytest.raises(ValueError, match=r"within 0\.\.256"):
        Engine(model, threads=-1)
    with pytest.raises(ValueError, match=r"within 0\.\.256"):
        Engine(model, threads=257)
    with pytest.raises(TypeError, match="threads must be an int"):
        Engine(model, threads=1.5)
    with pytest.raises(TypeError, match="isa must be a str"):
        Engine(model, isa=2)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Engine(tmp_path / "none.bin")
    assert caught.value.filename == str(tmp_path / "none.bin")
    with pytest.raises(IsADirectoryError):
        Engine(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="fifo"):
        Engine(fifo)
    with pytest.raises(ValueError, match="NUL"):
        Engine(f"{tmp_path}/\0")
    empty = tmp_path / "empty.bin"
    empty.touch()
    with pytest.raises(ModelFormatError, match=r"byte 0"):
        Engine(empty)


@pytest.mark.parametrize("kind", [ModelFormatError, UnsupportedModelError])
def test_error_survives_pickling(kind: type[ModelFormatError]) -> None:
    error = pickle.loads(pickle.dumps(kind("cut", 7)))
    assert type(error) is kind
    assert isinstance(error, ValueError)
    assert (error.args, error.offset, str(error)) == (("cut",), 7, str(kind("cut")))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_many_python_threads(model: Path, faces: np.ndarray, threads: int) -> None:
    engine = Engine(model, threads=threads)
    expected = engine.embed(faces)
    wrong: list[int] = []

    def call(number: int) -> None:
        for i in range(12):
            n = 1 + (number + i) % len(faces)
            if not np.array_equal(engine.embed(faces[:n]), expected[:n]):
                wrong.append(number)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_gil_is_free_while_computing(model: Path, faces: np.ndarray) -> None:
    engine = Engine(model, threads=1, isa="scalar")
    began, done = threading.Event(), threading.Event()
    many = np.concatenate([faces] * 20)

    def compute() -> None:
        began.set()
        engine.embed(many)
        done.set()

    caller = threading.Thread(target=compute)
    caller.start()
    began.wait()
    turns = 0
    while not done.is_set():
        turns += 1  # would be stuck at the first turns if the GIL were held
    caller.join()
    assert turns > 1000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of numpy's threads
def test_fork_is_refused_in_words(model: Path, faces: np.ndarray) -> None:
    engine = Engine(model, threads=1)
    engine.embed(faces[:1])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            engine.embed(faces[:1])
            os.write(write, b"worked")
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert b"open another one" in os.read(read, 1000)
    os.close(read)


def test_what_the_doctor_asks() -> None:
    found = cpu_features()
    assert found["isas"]["scalar"] == "usable"
    assert set(found["isas"].values()) <= {"usable", "not in this build", "not on this processor"}
    flags = Path("/proc/cpuinfo").read_text().split()
    if found["features"]["avx2"]:
        assert "avx2" in flags
    assert build_info()["version"]


@pytest.mark.parametrize("name", ["nano", "paper"])
def test_threads_share_a_face_of_published_shapes(name: str, faces: np.ndarray) -> None:
    path = Path(__file__).parents[3] / "shared/golden" / f"{name}.bin"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    alone = Engine(path, threads=1).embed(faces)
    for threads in (2, 3, 4, 8):
        engine = Engine(path, threads=threads)
        assert np.array_equal(engine.embed(faces[:1]), alone[:1])
        assert np.array_equal(engine.embed(faces), alone)


def test_peak() -> None:
    assert 0.01 < peak_gflops("scalar", seconds=0) < 1e5
    assert 0.01 < peak_gflops(threads=2, seconds=0.05) < 1e5
    with pytest.raises(ValueError, match="isa is 'mmx'"):
        peak_gflops("mmx")
    with pytest.raises(ValueError, match=r"0\.\.256"):
        peak_gflops(threads=257)


def test_example_of_the_docstring(model: Path) -> None:
    results = doctest.testmod(vultus.native, extraglobs={"model_path": model}, raise_on_error=True)
    assert results.attempted >= 5


def test_reference_is_not_trivial(layers: list[efm3.Layer], faces: np.ndarray) -> None:
    """Different faces get different vectors, else agreement would prove nothing."""
    y = efm3.compute(layers, faces[:2])
    assert np.abs(y[0] - y[1]).max() > 1e-3
