"""Options that the evaluations share, and the models and the work file that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
import msgspec

from vultus.cli.console import counted, progress, say
from vultus.cli.evaluate_faces import FaceReader, Progress
from vultus.cli.options import config_option, detector_option, json_option
from vultus.configs.loader import data_folder, load
from vultus.configs.schema import Config
from vultus.evaluation.work import WorkFile

Landmarks = Literal["own", "onet"]
_WHOSE: dict[Landmarks, str] = {"own": "its own", "onet": "O-Net's"}
"""`detect.landmarks`, in words."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_embedder_option = click.option("--embedder", metavar="NAME", help="Another embedder than the configured one.")
_mirrored_option = click.option(
    "--mirrored", is_flag=True, help="Add to each vector that of the mirrored face, as published figures often do."
)
_work_option = click.option(
    "--work",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keeps what was computed.  [default: `evaluation.work` in the user's data folder]",
)
_out_option = click.option(
    "--out",
    "out_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a report with curves and the worst errors, as one page that needs nothing else.",
)


def evaluation(command: Decorated) -> Decorated:
    """Options of every evaluation: `work`, `out_file`, `config_file`, `as_json`."""
    return _work_option(_out_option(config_option(json_option(command))))


def of_embeddings(command: Decorated) -> Decorated:
    """Options of those that compare faces: `detector`, `embedder`, `mirrored`."""
    return detector_option(_embedder_option(_mirrored_option(command)))


def with_models(config_file: Path | None, detector: str | None, embedder: str | None) -> Config:
    """The configuration with other models in it."""
    config = load(config_file)
    models = config.models
    models = msgspec.structs.replace(models, detector=detector or models.detector, embedder=embedder or models.embedder)
    return msgspec.structs.replace(config, models=models)


@contextmanager
def reader(config: Config, work: Path | None, *, mirrored: bool = False) -> Iterator[FaceReader]:
    """The configured models at work, over the work file."""
    data = data_folder()
    with WorkFile(work or data / "evaluation.work") as kept, FaceReader(config, data, kept, mirrored=mirrored) as faces:
        yield faces


@contextmanager
def shown(what: str, *, visible: bool) -> Iterator[Progress]:
    """A progress bar, as the function that moves it."""
    with progress(visible=visible) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def tell_refused(refused: dict[str, str]) -> None:
    """Name the pictures that could not be read."""
    for path, reason in list(refused.items())[:20]:
        say(f"{path}: {reason}", style="yellow")
    if len(refused) > 20:
        say(f"and {counted(len(refused) - 20, 'other')}", style="yellow")


def models_in_words(detector: str | None, landmarks: Landmarks | None, embedder: str, *, mirrored: bool = False) -> str:
    """`yunet_2023mar with O-Net's landmarks, and sface_2021dec`."""
    found = f"{detector} with {_WHOSE[landmarks]} landmarks, and " if detector and landmarks else ""
    return f"{found}{embedder}{', mirrored faces added' if mirrored else ''}"


def percent(value: float) -> str:
    """`98.73%`."""
    return f"{value:.2%}"
