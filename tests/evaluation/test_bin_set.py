"""InsightFace's sets: every way they were pickled is read, and nothing in them is ever run."""

import pickle
import pickletools
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus.evaluation.bin_set import read
from vultus.evaluation.errors import BadList

PICTURES = [bytes([number]) * (number + 3) for number in range(4)]


def written(folder: Path, value: Any, protocol: int = 4) -> Path:
    path = folder / "set.bin"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "answers",
    [[True, False], (1, 0), [np.True_, np.False_], np.array([True, False])],
    ids=["bools", "numbers", "numpy bools", "array"],
)
def test_every_form_of_answers(tmp_path: Path, answers: Any, protocol: int) -> None:
    found = read(written(tmp_path, (PICTURES, answers), protocol))
    assert found.pictures == tuple(PICTURES)
    assert found.same.tolist() == [True, False]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_pictures_as_arrays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = [np.frombuffer(one, np.uint8).reshape(shape) for one in PICTURES]
    assert read(written(tmp_path, [arrays, [True, False]], 3)).pictures == tuple(PICTURES)


def test_strings_of_python_2(tmp_path: Path) -> None:
    pictures = b"".join(b"U" + bytes([len(one)]) + one for one in (b"\xff\xd8a", b"\xff\xd8b"))  # SHORT_BINSTRING
    found = read(written(tmp_path, b"\x80\x02](" + pictures + b"e]\x88a\x86."))
    assert found.pictures == (b"\xff\xd8a", b"\xff\xd8b")


class Hostile:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for value in (
        (Hostile(mark), [True]),
        (PICTURES[:2], [Hostile(mark)]),
        ([b"a", Hostile(mark)], [True]),
        Hostile(mark),
    ):
        with pytest.raises(BadList):
            read(written(tmp_path, value))
    with pytest.raises(BadList):
        read(written(tmp_path, b"cos\nsystem\n(S'touch " + bytes(mark) + b"'\ntR."))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (([], []), "0 pictures for 0 pairs"),
        ((PICTURES[:3], [True, False]), "3 pictures for 2 pairs"),
        ((PICTURES, [True, 2]), "neither true nor false"),
        ((PICTURES, [True, None]), "neither true nor false"),
        (([1, 2], [True]), "not bytes but int"),
        (([b"a", np.zeros(3, np.float64)], [True]), "neither a picture's bytes nor answers"),
        (([b"a", np.array([None, []], object)], [True]), "neither a picture's bytes nor answers"),
        ((PICTURES, np.array([1, 0], np.uint8)), "something else than bools"),
        ({"a": 1}, "list of pictures and a list of answers"),
        ((PICTURES, [True, False], 3), "list of pictures and a list of answers"),
        (([b"a", b"b" * 4_000_001], [True]), "no aligned face"),
    ],
)
def test_what_is_no_set_is_refused(tmp_path: Path, value: Any, complaint: str) -> None:
    with pytest.raises(BadList, match=complaint):
        read(written(tmp_path, value))


def test_every_damage_is_told_in_words(tmp_path: Path, rand: np.random.Generator) -> None:
    arrays = [np.frombuffer(one, np.uint8) for one in PICTURES]
    whole = pickle.dumps((arrays, [np.True_, np.False_]), 3)
    for _ in range(300):
        data = bytearray(whole[: rand.integers(1, len(whole) + 1)])
        for at in rand.integers(0, len(data), rand.integers(1, 4)):
            data[at] = rand.integers(0, 256)
        with suppress(BadList):
            found = read(written(tmp_path, bytes(data)))
            assert len(found.pictures) == 2 * len(found.same)


def test_the_small_set_of_insightface(shared: Path) -> None:
    path = shared / "data" / "insightface_small_lfw.bin"
    if not path.exists():
        pytest.skip("needs data/insightface_small_lfw.bin of the folder `shared`")
    found = read(path)
    assert len(found.pictures) == 20
    assert all(picture.startswith(b"\xff\xd8\xff") for picture in found.pictures)
    assert found.same.all()
    assert any(code.name == "GLOBAL" for code, _, _ in pickletools.genops(path.read_bytes()))
