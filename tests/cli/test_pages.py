"""Pages are written whole or not at all."""

import os
from pathlib import Path

import pytest

from vultus.cli.pages import document, picture, write
from vultus.index.store import private


def test_a_page_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")
    write(page, document("<Ada>", "b{}", "<h1>1</h1>"), private)
    assert page.read_text().startswith('<!doctype html><html lang="en">')
    assert "<title>&lt;Ada&gt;</title><style>b{}</style><h1>1</h1></html>" in page.read_text()
    assert page.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [page]


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file or directory: .*none/page\.html"):
        write(tmp_path / "none" / "page.html", "x")
    (tmp_path / "page.html").write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "page.html", "\ud800")
    assert (tmp_path / "page.html").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(pipe, "page")
        assert os.read(reader, 100) == b"page"
        assert pipe.is_fifo()
    finally:
        os.close(reader)


def test_a_picture_says_what_it_is_of() -> None:
    assert picture(b"\xff\xd8", 'a "b"') == '<img alt="" title="a &quot;b&quot;" src="data:image/jpeg;base64,/9g=">'
