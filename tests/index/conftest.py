"""A gallery, vectors, and the answer that a search must give, by sorting everything."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vultus.index import Gallery


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gallery"


@pytest.fixture(params=["folder", "database"])
def place(request: pytest.FixtureRequest) -> str:
    """Where a new gallery may be made: a folder, or the address of a schema of a real server."""
    if request.param == "folder":
        return str(request.getfixturevalue("tmp_path") / "gallery")
    return str(request.getfixturevalue("database")())


@pytest.fixture
def gallery(folder: Path) -> Iterator[Gallery]:
    with Gallery.open(folder) as gallery:
        yield gallery


@pytest.fixture
def vectors(rand: np.random.Generator) -> Callable[..., np.ndarray]:
    """Makes `(n, dim)` float32 vectors that are not of length 1."""

    def make(count: int, dim: int = 16) -> np.ndarray:
        return (rand.standard_normal((count, dim)) * rand.uniform(0.1, 10, (count, 1))).astype(np.float32)

    return make


@pytest.fixture
def answer() -> Callable[..., list[list[tuple[int | None, int, float]]]]:
    """The reference: `(identity, face, similarity)` of the best k people, from all faces and their people."""

    def search(
        probes: np.ndarray, faces: list[int], people: list[int | None], vectors: np.ndarray, k: int
    ) -> list[list[tuple[int | None, int, float]]]:
        def unit(rows: np.ndarray) -> np.ndarray:
            rows = rows.astype(np.float32)
            return (rows / np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))).astype(np.float32)

        answers = []
        for row in (unit(probes).astype(np.float64) @ unit(vectors).astype(np.float64).T).astype(np.float32):
            best, seen = [], set()
            for at in sorted(range(len(faces)), key=lambda at: (-row[at], faces[at])):
                if people[at] is not None and people[at] in seen:
                    continue
                seen.add(people[at])
                best.append((people[at], faces[at], float(np.clip(row[at], -1, 1))))
            answers.append(best[:k])
        return answers

    return search


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Starts a child that runs Python source with the given arguments; it is killed at the end if it still runs."""
    children: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", source, *map(str, arguments)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
