"""Photographs with names, from folders and from lists."""

from pathlib import Path

import pytest

from vultus.evaluation.errors import BadList
from vultus.evaluation.people import read


def test_folders_and_lists(tmp_path: Path) -> None:
    for name, file in (
        ("Ann", "b.jpg"),
        ("Ann", "a.PNG"),
        ("Bob", "c.webp"),
        ("Bob", "notes.txt"),
        (".trash", "d.jpg"),
    ):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).touch()
    assert [(name, path.name) for name, path in read(tmp_path)] == [
        ("Ann", "a.PNG"),
        ("Ann", "b.jpg"),
        ("Bob", "c.webp"),
    ]
    listed = tmp_path / "list.txt"
    listed.write_text("# who\nAnn Lee\tAnn/b.jpg\n\nBob\t/elsewhere/c.jpg\n")
    assert read(listed) == [("Ann Lee", tmp_path / "Ann" / "b.jpg"), ("Bob", Path("/elsewhere/c.jpg"))]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"Ann a.jpg\n", "line 1"), (b"\n\t\n", "no photographs"), (b"Ann\ta\n\tb\n", "line 2"), (b"\xff\xfe", "binary")],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(BadList, match=complaint):
        read(tmp_path / "list.txt")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadList, match="one for each person"):
        read(tmp_path)
