"""Rows and vectors that go in by the hundred: all of them, in their places, encrypted or not."""

import contextlib
import sqlite3

import numpy as np
import pytest

from vultus.index import connection as connection_module
from vultus.index.connection import SqliteConnection
from vultus.index.seal import VECTOR, Seal


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 350])
def test_rows_go_in_whole_whatever_their_number(count: int) -> None:
    numbers, names = tuple(range(7, 7 + count)), [None if at % 3 else f"n{at}" for at in range(count)]
    with contextlib.closing(sqlite3.connect(":memory:", factory=SqliteConnection)) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, created REAL)")
        connection.add_rows("people", {"id": numbers, "name": names, "created": (0.1,) * count})
        rows = connection.execute("SELECT * FROM people ORDER BY id").fetchall()
    assert rows == list(zip(numbers, names, (0.1,) * count, strict=True))


@pytest.mark.parametrize("sealed", [False, True])
def test_vectors_are_cut_at_their_borders(
    sealed: bool, rand: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sealed:
        pytest.importorskip("cryptography", reason="encryption needs vultus[crypto]")
    monkeypatch.setattr(connection_module, "_VECTORS", 8)
    faces, vectors = [3, 2, 40, *range(100, 118)], rand.standard_normal((21, 5), dtype=np.float32)
    with contextlib.closing(sqlite3.connect(":memory:", factory=SqliteConnection)) as connection:
        connection.execute("CREATE TABLE vectors (face INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT")
        seal = connection.seal = Seal.new() if sealed else None
        connection.add_vectors(faces, vectors)
        stored = dict(connection.execute("SELECT face, vector FROM vectors"))
        assert connection.packed_vectors(sorted(faces)) == [
            (face, row.astype("<f4").tobytes()) for face, row in sorted(zip(faces, vectors, strict=True))
        ]
    if seal is not None:
        assert all(len(value) == 20 + 28 for value in stored.values())
        assert seal.open(VECTOR, [2], [stored[3]]) == [b""]  # each is sealed as whose it is
