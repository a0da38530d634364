"""`vultus bench pipeline`."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import numpy as np

from vultus.cli import pipeline_contenders as contenders
from vultus.cli import scenes
from vultus.cli.console import line, print_json, say, table
from vultus.cli.film_judge import Verdict
from vultus.cli.options import config_option, json_option
from vultus.cli.pages import write
from vultus.cli.pipeline_contenders import Row
from vultus.cli.pipeline_live import Live, live
from vultus.cli.pipeline_plot import plot
from vultus.configs.loader import data_folder, load
from vultus.configs.schema import Config
from vultus.stages import video
from vultus.stages.gallery import threshold
from vultus.weights import Registry, Samples

_QUIET_SECONDS = 4.0
_REJOIN = 3.0


def _size(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    """`1920x1080`; both even, as H.264 wants them."""
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and 64 <= int(side) <= 8192 and int(side) % 2 == 0 for side in (width, height)):
        raise click.BadParameter(f"{text!r} is no size such as 1920x1080, with even sides")
    return int(width), int(height)


@click.command("pipeline")
@click.option(
    "--photos",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="People to appear: a folder each, one or more photographs in it.  [default: the sample photographs]",
)
@click.option("--people", type=click.IntRange(1, 1000), default=10, show_default=True, help="At most so many known.")
@click.option("--size", callback=_size, default="1920x1080", show_default=True, metavar="WxH")
@click.option("--seconds", type=click.FloatRange(8, 3600), default=60.0, show_default=True, help="Length of the film.")
@click.option("--plain/--no-plain", default=True, show_default=True, help="The plain OpenCV loop, for comparison.")
@click.option("--fast/--no-fast", default=True, show_default=True, help="The film as a file, as fast as possible.")
@click.option("--cameras", type=click.IntRange(0, 64), default=8, show_default=True, help="Cameras at their own pace.")
@click.option("--busy", type=click.IntRange(0, 64), default=2, show_default=True, help="Cameras with people.")
@click.option("--watch", "watched", type=click.FloatRange(5, 86400), default=60.0, show_default=True, help="Seconds.")
@click.option(
    "--reconnect",
    type=click.FloatRange(1, 86400),
    help="Cut each camera off after so many seconds, to see what grows; visits are cut too, so do not judge names.",
)
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Keep the videos there.")
@click.option("--plot", "page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Memory as HTML.")
@config_option
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@json_option
def pipeline(
    photos: Path | None,
    people: int,
    size: tuple[int, int],
    seconds: float,
    plain: bool,
    fast: bool,
    cameras: int,
    busy: int,
    watched: float,
    reconnect: float | None,
    keep: Path | None,
    page: Path | None,
    config_file: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """How fast, soon and surely cameras and films give names. A plain OpenCV loop does the same beside it.

    Videos are made of photographs: people walk past, cross, turn away, hurry, come from afar, three at a time, and it is
    known who is visible when. Of people with two photographs one is enrolled and the other appears; who has one is a
    stranger. First the film is analysed as a file, as fast as possible, in turns with a loop of OpenCV's VideoCapture,
    FaceDetectorYN and FaceRecognizerSF over every frame. Then --cameras send it over HTTP at 25 frames a second, the
    first --busy with people and the others without.

    `once` is how many visits of known people gave exactly one track with the right name, `again` more than one, `lost`
    none. Latency is from the frame that decided to the sighting, `to name` from the first frame that shows the person
    clearly. The first minute of a file of 1080p takes about two minutes to make; --keep uses it again.
    """
    busy = min(busy, cameras)
    with _folder(keep) as folder, tempfile.TemporaryDirectory() as scratch:
        config = msgspec.structs.replace(load(config_file), gallery=str(Path(scratch) / "gallery"))
        # The film has so few people that somebody may be back, for another visit, sooner than by default.
        rejoin = min(_REJOIN, config.match.rejoin)
        config = msgspec.structs.replace(config, match=msgspec.structs.replace(config.match, rejoin=rejoin))
        cast = contenders.cast(photos or _samples(Path(scratch)), config, people, max(2, people // 3))
        contenders.enrol(cast, config)
        film = scenes.script(cast.portraits, size, seconds, np.random.default_rng(seed))
        shown, quiet = folder / f"film-{seed}-{size[0]}-{seconds:g}.mp4", folder / f"quiet-{size[0]}.mp4"
        _make(film, shown, seed)
        _make(scenes.empty(size, _QUIET_SECONDS), quiet, seed)
        rows = _fast(film, shown, cast, config, plain=plain) if fast else []
        run = None
        if cameras:
            say(f"{cameras} cameras, {busy} with people, {watched:g} s")
            run = live(
                film, shown, quiet, config, cameras=cameras, busy_cameras=busy, seconds=watched, reconnect=reconnect
            )
    conditions = {
        "size": f"{size[0]}x{size[1]}",
        "film_seconds": seconds,
        "visits": len(film.visits),
        "known": len(cast.known),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "detector": config.models.detector,
        "embedder": config.models.embedder,
        "seed": seed,
    }
    if page is not None and run is not None:
        write(page, plot(run, conditions))
        say(f"memory of each process over time: {page}")
    if as_json:
        print_json({"conditions": conditions, "film": rows, "cameras": run})
        return
    for key, value in conditions.items():
        line(f"{key}: {value}")
    if rows:
        _tell_rows(rows)
    if run is not None:
        _tell_live(run)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _samples(folder: Path) -> Path:
    """The sample photographs, a folder for each person; a group is left out."""
    samples = Samples(data_folder())
    path, people = samples.pull(), folder / "photos"
    for sample in samples.list():
        if sample.person is not None:
            place = people / sample.person
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path / sample.file, place / sample.file)
    return people


def _make(film: scenes.Film, path: Path, seed: int) -> None:
    if path.exists():
        return
    say(f"making {path.name}, {film.frames} frames")
    draft = path.with_suffix(".part.mp4")
    video.write(draft, film.pictures(seed), scenes.RATE)
    draft.replace(path)


def _fast(film: scenes.Film, path: Path, cast: contenders.Cast, config: Config, *, plain: bool) -> list[Row]:
    say("the film as a file")
    every = contenders.every_frame(config)
    rows = [
        contenders.pipeline(film, path, config, f"vultus, every {config.decode.video_step}. frame"),
        contenders.pipeline(film, path, every, "vultus, every frame"),
    ]
    if plain:
        model = Registry(data_folder()).resolve(config.models.embedder, "embedder")
        rows.append(contenders.plain_loop(film, path, cast, config, threshold(config, model)))
    return rows


def _verdict(verdict: Verdict | None) -> tuple[str, ...]:
    if verdict is None:
        return ("-",) * len(_VERDICT)
    return (
        f"{verdict.once}/{verdict.visits}",
        str(verdict.again),
        str(verdict.lost),
        str(verdict.wrong),
        f"{verdict.strangers_told}/{verdict.strangers}",
        str(verdict.nowhere),
    )


_VERDICT = (">once", ">again", ">lost", ">wrong", ">strangers", ">nowhere")


def _tell_rows(rows: list[Row]) -> None:
    last = rows[-1].fps
    line("")
    table(
        "The film as a file. A plain loop has no tracks: a person named in any frame counts as once",
        ("contender", ">frames/s", ">times", ">analysed", ">embeddings/visit", *_VERDICT),
        (
            (
                row.contender,
                f"{row.fps:.1f}",
                f"{row.fps / last:.2f}",
                row.analysed,
                f"{row.embeddings_per_visit:.1f}",
                *_verdict(row.verdict),
            )
            for row in rows
        ),
    )


def _tell_live(run: Live) -> None:
    line("")
    table(
        f"{run.cameras} cameras, {run.busy_cameras} with people, {run.seconds:g} s",
        (*_VERDICT, ">latency p50", ">p95", ">max", ">to name p50", ">p95", ">embeddings/visit", ">cores", ">of all"),
        (
            (
                *_verdict(run.verdict),
                _ms(run.latency_p50), _ms(run.latency_p95), _ms(run.latency_max),
                _ms(run.to_name_p50), _ms(run.to_name_p95),
                f"{run.embeddings_per_visit:.1f}", f"{run.cpu:.2f}", f"{run.cpu_share:.0%}",
            ),
        ),
    )  # fmt: skip
    line(
        f"frames {run.frames}, analysed {run.analysed}; connections lost {run.lost_connections}, restarts {run.restarts}"
    )
    table(
        "Stages; age is that of the frame when work on it begins",
        ("group", ">processes", ">busy", ">cores", ">batch", ">largest", ">queue", ">age p50", ">p95", ">memory", "dropped"),
        (
            (
                row.group, row.processes, f"{row.busy:.0%}", f"{row.cpu:.2f}", f"{row.mean_batch:.1f}", row.largest_batch,
                f"{row.queued:.1f}", _ms(row.age_p50), _ms(row.age_p95), f"{row.memory / 1e6:.0f} MB",
                ", ".join(f"{count} {reason}" for reason, count in row.dropped.items()),
            )
            for row in run.stages
        ),
    )  # fmt: skip
    grown = ", ".join(f"{name} {grew:+.1f}" for name, grew in run.growth.items())
    line(f"memory, end against a quarter of the time, MB: {grown}")


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds * 1e3:.0f} ms"
