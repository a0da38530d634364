"""LFW's list of pairs: what is read, and what is refused with its line."""

from pathlib import Path

import pytest

from vultus.evaluation.errors import BadList
from vultus.evaluation.pairs import locate, read

LIST = "2\t1\nAnn\t1\t4\nAnn\t1\tBob\t2\nBob\t2\t10\nAnn\t4\tCid\t1\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "pairs.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_list_is_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, LIST))
    assert found.photos == ("Ann/Ann_0001", "Ann/Ann_0004", "Bob/Bob_0002", "Bob/Bob_0010", "Cid/Cid_0001")
    assert found.pairs.tolist() == [[0, 1], [0, 2], [2, 3], [1, 4]]
    assert found.same.tolist() == [True, False, True, False]
    assert found.fold is not None
    assert found.fold.tolist() == [0, 0, 1, 1]
    assert found.people.tolist() == [0, 0, 1, 1, 2]
    assert read(written(tmp_path, "1\nAnn 1 2\nAnn 1 Bob 1\n")).fold is None


def test_a_photograph_is_found_whatever_its_ending(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "Ann_0001.png").touch()
    assert locate(tmp_path, "Ann/Ann_0001").suffix == ".png"
    with pytest.raises(FileNotFoundError, match=r"Ann_0002\.jpg"):
        locate(tmp_path, "Ann/Ann_0002")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "first line"),
        ("ten 300\n", "first line"),
        ("9999999 9999999\n", "are read"),
        ("1 2\nAnn 1 2\nAnn 1 Bob 1\n", "2 pairs, and the first line announces"),
        ("1 1\nAnn 1 2\nAnn 1\n", "line 3: neither"),
        ("1 1\nAnn 1 2\nAnn 1 ../../etc 1\n", "line 3: '../../etc' is no name"),
        ("1 1\nAnn 1 2\nAnn -1 Bob 1\n", "line 3: '-1' is no number"),
        (b"\x80\x02]q\x00\xff", "binary"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(BadList, match=complaint):
        read(written(tmp_path, text))
