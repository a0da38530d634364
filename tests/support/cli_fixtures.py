"""The command line as a user calls it: a process of its own, its output, its exit code."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cli_process import Answer, Run, call


@pytest.fixture(scope="session")
def vultus(registry: object) -> Run:
    """Runs `vultus ARGUMENTS`; with `code=` it checks how that ended."""

    def run(*arguments: object, code: int | None = 0, timeout: float = 60) -> Answer:
        with TemporaryDirectory() as folder:
            answer = call([str(argument) for argument in arguments], Path(folder), timeout)
        assert "Traceback" not in answer.err, answer.err
        assert code is None or answer.code == code, f"exit {answer.code}, wanted {code}\n{answer.out}\n{answer.err}"
        return answer

    return run


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of other jobs on this machine nothing is to be seen: temporary files lie apart, at a short path, as sockets' are."""
    with TemporaryDirectory(prefix="v", dir="/tmp") as place:
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", place)
        yield


@pytest.fixture(scope="session")
def archive(samples: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo archive with a folder a person (one photo each of four people) and a group of six in `various`."""
    folder, photos = samples
    root = tmp_path_factory.mktemp("archive")
    for photo in photos:
        if photo.file in ("person_a_2.jpg", "person_b_2.jpg"):
            continue  # these ask
        place = root / (photo.person or "various")
        place.mkdir(exist_ok=True)
        (place / photo.file).write_bytes((folder / photo.file).read_bytes())
    return root


@pytest.fixture(scope="session")
def indexed(vultus: Run, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of that archive, with labels, that nobody opens: to be copied."""
    folder = tmp_path_factory.mktemp("indexed") / "g"
    answer = vultus("index", archive, "--label-from-folder", "--gallery", folder, "--json")
    assert answer.json["done"] == 5
    return folder


@pytest.fixture(scope="session")
def gallery(indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for commands; their sightings stay in it."""
    folder = tmp_path_factory.mktemp("gallery") / "g"
    shutil.copytree(indexed, folder)
    return folder


@pytest.fixture(scope="session")
def photo(samples: tuple[Path, Any]) -> bytes:
    """The second photograph of person a, who is in the gallery by the first."""
    return (samples[0] / "person_a_2.jpg").read_bytes()
