"""What tests of every part share: models, photographs and a random generator whose seed a failure prints."""

import fcntl
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from vultus.configs.schema import Config, Models
from vultus.stages.landmarks import landmark_models
from vultus.weights import Registry, Sample, Samples

pytest_plugins = ["cli_fixtures", "postgres_fixtures"]

ROOT = Path(__file__).parents[1]
DATA = ROOT / "build" / "testdata"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed",
        help="seed of the `rand` fixture: a number, or `new` for another at each run (default: each test its own)",
    )
    parser.addoption("--minutes", type=int, default=10, help="for how long the soak test watches cameras")
    parser.addoption("--rounds", type=int, default=8, help="how often the slow crash tests kill and look")


def pytest_configure(config: pytest.Config) -> None:
    # For every subprocess too: no test ever touches the data folder of whoever runs it.
    os.environ["VULTUS_HOME"] = str(DATA)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Several pytest runs in one tree fetch once and wait for each other."""
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The data folder of the tests, kept between runs; VULTUS_HOME names it."""
    DATA.mkdir(parents=True, exist_ok=True)
    return DATA


@pytest.fixture(scope="session")
def registry(data_home: Path) -> Registry:
    """A registry that has the default models. Without them most tests would mean nothing, so failing to fetch fails."""
    registry = Registry(data_home)
    with _locked("models"):
        registry.pull([Models().detector, Models().embedder, *landmark_models(Config())])
    return registry


@pytest.fixture(scope="session")
def mtcnn_registry(registry: Registry) -> Registry:
    """The same with all of MTCNN."""
    with _locked("models"):
        registry.pull(["mtcnn"])
    return registry


@pytest.fixture(scope="session")
def samples(data_home: Path) -> tuple[Path, tuple[Sample, ...]]:
    """The folder of sample photographs, and what is on them."""
    photos = Samples(data_home)
    with _locked("samples"):
        return photos.pull(), photos.list()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden files and measured models that live beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder `shared` beside the repository (golden files, LFW photographs, models)")
    return folder


@pytest.fixture
def rand(request: pytest.FixtureRequest) -> np.random.Generator:
    """A random generator. Without `--seed` a test has the same one at each run, so that a change is judged by what it did.

    `--seed new` looks for other cases; a failure says which `--seed` brings its numbers back.
    """
    given = request.config.getoption("--seed")
    own = zlib.crc32(request.node.nodeid.encode())
    seed = secrets.randbits(32) if given == "new" else int(given or own)
    request.node.add_report_section("setup", "random seed", f"--seed {seed}")
    return np.random.default_rng(seed)
