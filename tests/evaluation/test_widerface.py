"""WIDER FACE's files, made here in their form."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus.evaluation import widerface
from vultus.evaluation.errors import BadList
from vultus.evaluation.widerface import read

savemat = pytest.importorskip("scipy.io", reason="needs vultus[widerface]").savemat


def cells(values: list[Any]) -> np.ndarray:
    """A MATLAB cell array, one column."""
    made = np.empty((len(values), 1), object)
    for at, value in enumerate(values):
        made[at, 0] = value
    return made


def write(folder: Path, **change: Any) -> None:
    """Two events with two pictures and one, five faces."""
    boxes = [
        [np.array([[1, 2, 30, 40], [5, 6, 7, 8]]), np.array([[9, 9, 9, 9]])],
        [np.array([[0, 0, 5, 5], [9, 0, 5, 5]])],
    ]
    counted: dict[str, Any] = {
        "easy": [[[1], []], [[2]]],
        "medium": [[[1], [1]], [[1, 2]]],
        "hard": [[[1, 2], [1]], [[1, 2]]],
    }
    names = [["0_Parade_1", "0_Parade_2"], ["1_Handshaking_1"]]
    counted |= change
    (folder / "split").mkdir()
    savemat(
        folder / "split" / "wider_face_val.mat",
        {
            "event_list": cells(["0--Parade", "1--Handshaking"]),
            "file_list": cells([cells(event) for event in names]),
            "face_bbx_list": cells([cells(event) for event in boxes]),
        },
        do_compression=True,
    )
    for level, events in counted.items():
        lists = cells([cells([np.array(one, np.uint8).reshape(-1, 1) for one in event]) for event in events])
        savemat(folder / f"wider_{level}_val.mat", {"gt_list": lists})


def test_ground_truth_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    first, second, third = read(tmp_path)
    assert (first.picture, third.picture) == ("0--Parade/0_Parade_1", "1--Handshaking/1_Handshaking_1")
    assert first.faces.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]
    assert {level: chosen.tolist() for level, chosen in first.counted.items()} == {
        "easy": [True, False],
        "medium": [True, False],
        "hard": [True, True],
    }
    assert second.counted["easy"].tolist() == [False]
    assert third.counted["easy"].tolist() == [False, True]


@pytest.mark.parametrize("numbers", [[0], [3]])
def test_a_number_that_no_box_has_is_refused(tmp_path: Path, numbers: list[int]) -> None:
    write(tmp_path, easy=[[numbers, []], [[2]]])
    with pytest.raises(BadList, match="not WIDER FACE's ground truth"):
        read(tmp_path)


def test_what_is_missing_or_damaged_is_said(
    tmp_path: Path, rand: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widerface, "_MOST_BYTES", 1_000_000)
    with pytest.raises(FileNotFoundError, match="wider_face_split"):
        read(tmp_path)
    write(tmp_path)
    path = tmp_path / "wider_hard_val.mat"
    whole = path.read_bytes()
    bomb = zlib.compress(bytes(2_000_000))
    path.write_bytes(whole[:128] + np.array([15, len(bomb)], "<u4").tobytes() + bomb)
    with pytest.raises(BadList, match="unpacks to more"):
        read(tmp_path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512, b"\x89"))
    with pytest.raises(BadList, match="version 5"):
        read(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="eval_tools"):
        read(tmp_path)
    for _ in range(20):
        damaged = bytearray(whole[: rand.integers(130, len(whole) + 1)])
        for at in rand.integers(128, len(damaged), 3):
            damaged[at] = rand.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read(tmp_path)
        except BadList as error:
            assert "wider_hard_val.mat" in str(error) or str(tmp_path) in str(error)  # noqa: PT017
