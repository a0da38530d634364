"""`vultus demo`: the whole way on sample photographs, for somebody who has just installed it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import numpy as np
from msgspec import Struct
from PIL import Image as Pillow

from vultus.cli.console import clock, line, progress, say, table
from vultus.cli.index import Terminal, run_with_bar, tell_summary
from vultus.cli.job import stopped_by_signals, tell
from vultus.cli.models import fetch_defaults
from vultus.cli.picture import Mark, save_marked
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config, Match, Source
from vultus.jobs.indexing import Indexing
from vultus.pipeline.messages import ItemDone, Sighting
from vultus.pipeline.supervisor import Pipeline
from vultus.stages import video
from vultus.stages.sources import Found, find
from vultus.weights import Sample, Samples

# Who is put into the gallery, from one photograph each; the video shows other photographs.
_ENROLLED = ("person_a_1.jpg", "person_b_1.jpg", "impostor_1.jpg", "impostor_2.jpg")
_SCENES = (("person_a_2.jpg",), ("t1.jpg",), ("person_b_2.jpg",), ("person_b_2.jpg", "person_a_2.jpg"))
_SIZE = (960, 540)
_RATE = 25
_SCENE_SECONDS = 3.0


class Demo(Struct, frozen=True, kw_only=True):
    """Where the demo's things are."""

    out: Path
    photos: Path
    samples: dict[str, Sample]

    @property
    def film(self) -> Path:
        """The video it makes."""
        return self.out / "film.mp4"


@click.command()
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the demo's gallery, video and pictures.",
)
@click.pass_context
def demo(ctx: click.Context, out_dir: Path) -> None:
    """Fetch the models and sample photographs, build a small gallery, play a video, and show who was seen.

    Four people are put into a gallery from one photograph each. Then a video made of other photographs of two of them,
    years apart, and of six strangers, runs through the real stage processes. Nothing outside DIR is changed, but for
    the models and samples in the user's data folder.
    """
    say("1. The models, and photographs by their credited authors")
    fetch_defaults()
    with progress() as bar:
        bar.add_task("photographs", total=None)
        photos = Samples(data_folder()).pull()
    shown = Demo(out=out_dir, photos=photos, samples={one.file: one for one in Samples(data_folder()).list()})
    out_dir.mkdir(parents=True, exist_ok=True)
    # The film's scenes are years apart: who is in the next one has not come back after a moment.
    config = Config(gallery=str((out_dir / "gallery").absolute()), match=Match(rejoin=0.0))

    say("")
    say("2. A gallery: vultus index archive --label-from-folder")
    terminal = Terminal()
    job = Indexing(config, (Source(address=str(_archive(shown))),), terminal, label_from_folder=True)
    if run_with_bar(job, terminal):
        ctx.exit(130)
    tell_summary(job, out_dir / "gallery")

    say("")
    say(f"3. A video of other photographs: vultus watch {shown.film}")
    video.write(shown.film, _frames(shown), _RATE)
    sightings = _watch(config, shown.film)
    if not sightings:
        raise click.ClickException("the demo's video showed nobody, which is a fault: run `vultus doctor`")
    table(
        "Who was seen when",
        (">at", "who", ">similarity", ">track"),
        (
            (
                clock(one.position or 0.0),
                one.name or "unknown",
                "" if one.similarity is None else f"{one.similarity:.2f}",
                one.track,
            )
            for one in sightings
        ),
    )
    pictures = _pictures(shown, sightings)
    say("")
    say(f"4. Pictures, with credits beside them: {', '.join(str(path) for path in pictures)}")
    _next_steps()


def _archive(shown: Demo) -> Path:
    """A folder a person, as users have them."""
    archive = shown.out / "archive"
    for file in _ENROLLED:
        folder = archive / str(shown.samples[file].person)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shown.photos / file, folder / file)
    shutil.copyfile(shown.photos / "CREDITS.md", shown.out / "CREDITS.md")
    return archive


def _frames(shown: Demo) -> Iterator[np.ndarray]:
    """`(540, 960, 3)` uint8 BGR pictures: photographs that drift across a grey wall."""
    count = round(_SCENE_SECONDS * _RATE)
    for scene in _SCENES:
        tall = 500 if len(scene) == 1 else 420
        pictures = [_scaled(shown.photos / file, tall) for file in scene]
        for number in range(count):
            page = Pillow.new("RGB", _SIZE, (96, 96, 96))
            share = number / (count - 1)
            for place, picture in enumerate(pictures):
                room = _SIZE[0] // len(pictures)
                free = max(0, room - picture.width)
                page.paste(picture, (place * room + round(free * share), _SIZE[1] - picture.height))
            yield np.ascontiguousarray(np.asarray(page)[:, :, ::-1])


def _scaled(path: Path, tall: int) -> Pillow.Image:
    picture = Pillow.open(path).convert("RGB")
    scale = min(tall / picture.height, _SIZE[0] / picture.width)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)))


def _watch(config: Config, film: Path) -> list[Sighting]:
    """The last word on every track, in order of time; printed as a line when it comes."""
    items = [found.item(number) for number, found in enumerate(find([str(film)]), 1) if isinstance(found, Found)]
    last: dict[int, Sighting] = {}
    pipeline = Pipeline(config, config.pipeline.watch, live_sources=0, has_files=True)
    with pipeline, stopped_by_signals(pipeline) as signals:
        for result in pipeline.run(items):
            if isinstance(result, Sighting):
                first = last.get(result.track, result)
                last[result.track] = msgspec.structs.replace(result, position=first.position)
            elif not isinstance(result, ItemDone):
                tell(result)
    if signals:
        raise click.Abort
    return sorted(last.values(), key=lambda one: (one.position or 0.0, one.track))


def _pictures(shown: Demo, sightings: list[Sighting]) -> list[Path]:
    """One annotated frame for each scene that a person was named in, or that showed strangers."""
    scenes: dict[int, list[Sighting]] = {}
    for one in sightings:
        scenes.setdefault(int((one.position or 0.0) / _SCENE_SECONDS), []).append(one)
    written = []
    frames = enumerate(_frames(shown))
    for scene, group in sorted(scenes.items()):
        wanted = round((group[0].position or 0.0) * _RATE)
        image = next(frame for number, frame in frames if number >= wanted)
        marks = [
            Mark(
                box=one.box,
                text=f"{one.name}  {one.similarity:.2f}" if one.name else "unknown",
                known=one.name is not None,
            )
            for one in group
        ]
        path = shown.out / f"seen-{scene + 1}.jpg"
        credits = "Photographs: " + "; ".join(shown.samples[file].credit for file in _SCENES[scene])
        save_marked(image, marks, path, footer=credits)
        written.append(path)
    return written


def _next_steps() -> None:
    command = "vultus" if shutil.which("vultus") else sys.argv[0]
    line("")
    line("Now on your own material:", "bold")
    line(f"  {command} index ~/Pictures --label-from-folder")
    line(f"  {command} watch rtsp://CAMERA/STREAM")
    line(f"  {command} query SOMEBODY.jpg")
