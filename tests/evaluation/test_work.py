"""The work file: what was put is there again, whatever else lies at the path is left alone."""

import sqlite3
from pathlib import Path

import pytest

from vultus.evaluation.errors import WorkUnusable
from vultus.evaluation.work import WorkFile


def test_values_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "work"
    with WorkFile(path) as work:
        work.put((bytes([n % 256, n // 256]), b"value %d" % n) for n in range(1200))
        work.put([(b"\0\0", b"another")])
    with WorkFile(path) as work, WorkFile(path) as beside:
        assert work.get([]) == {}
        keys = [bytes([n % 256, n // 256]) for n in range(2000)]
        found = work.get(keys)
        assert len(found) == 1200
        assert found[b"\0\0"] == b"another"
        beside.put([(b"k", b"v")])
        assert work.get([b"k"]) == {b"k": b"v"}


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaks() -> object:
        yield b"a", b"1"
        raise KeyboardInterrupt

    with WorkFile(tmp_path / "work") as work, pytest.raises(KeyboardInterrupt):
        work.put(breaks())  # type: ignore[arg-type]
    with WorkFile(tmp_path / "work") as work:
        assert work.get([b"a"]) == {}


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("not a database, and long enough to be looked at as if it were one" * 20)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    for path in (text, other, tmp_path):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(WorkUnusable, match="--work"):
            WorkFile(path)
        assert not path.is_file() or path.read_bytes() == before
