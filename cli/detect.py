"""`vultus detect`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import click
from msgspec import Struct

from vultus.cli.console import counted, print_json, say, shown, table
from vultus.cli.detect_out import Drawn, Target
from vultus.cli.options import config_option, json_option
from vultus.configs.loader import data_folder, load
from vultus.configs.schema import Config
from vultus.pipeline.chain import Chain
from vultus.pipeline.messages import Detections, Face, Frame, ItemEnd
from vultus.pipeline.stage import Context
from vultus.stages.registry import build
from vultus.stages.sources import Found, Unusable, find
from vultus.weights import Registry

_LINES = 20
"""Faces of a picture in its table; the rest is counted."""


class Tally(Struct, kw_only=True):
    """What one detector found in all pictures."""

    detector: str
    pictures: int = 0
    with_faces: int = 0
    faces: int = 0
    seconds: float = 0.0
    counts: Counter[str]
    """Of its stage: `too_small`, `no_landmarks`, `second_look`."""

    def told(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "detector": self.detector,
            "pictures": self.pictures,
            "with_faces": self.with_faces,
            "faces": self.faces,
            "too_small": self.counts["too_small"],
            "no_landmarks": self.counts["no_landmarks"],
            "milliseconds": self.milliseconds,
        }

    @property
    def milliseconds(self) -> float | None:
        """Of a picture, on average."""
        return round(1000 * self.seconds / self.pictures, 2) if self.pictures else None


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="Find faces with this model; given several times, compare them.  [default: models.detector, yunet_2023mar]",
)
@click.option("--size", metavar="WxH", help="Show pictures to it in this size: 128x96, 320x240, 640x480 or any other.")
@click.option(
    "--score", type=click.FloatRange(0, 1), help="Least confidence of a face.  [default: as its makers suggest]"
)
@click.option("--iou", type=click.FloatRange(0, 1), help="Boxes that overlap more are one face.  [default: likewise]")
@click.option("--min-face", type=click.IntRange(1), metavar="PIXELS", help="Leave smaller faces out.  [default: 20]")
@click.option("--every", type=click.IntRange(1), metavar="N", help="Of a video look at each Nth frame.  [default: 3]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Draw boxes and landmarks: into FILE (.jpg, .png; .mp4 of a video), or of several PATHs into the folder DIR.",
)
@config_option
@json_option
@click.pass_context
def detect(
    ctx: click.Context,
    paths: tuple[str, ...],
    detectors: tuple[str, ...],
    size: str | None,
    score: float | None,
    iou: float | None,
    min_face: int | None,
    every: int | None,
    out: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Where the faces are in photos and videos, without any gallery: to see what a detector finds.

    PATH is a photo, a video or a folder of them.

    \b
    vultus detect group.jpg --out boxes.jpg
    vultus detect clip.mp4 --detector slim_320 --size 320x240 --out boxes.mp4
    vultus detect ~/Pictures --detector yunet_2023mar --detector mtcnn     # which one suits me?

    Boxes are left,top width×height in pixels of the upright picture, and may lie partly beyond it. Landmarks are the right
    eye, the left eye, the nose, the right and the left corner of the mouth. Time is that of detection alone, without reading
    the file.

    With --json each picture is an object on a line of its own: source, position (seconds into a video, else null), width,
    height, detector, milliseconds, and faces with box [x, y, w, h], score and landmarks; a file that cannot be used has source
    and error. The last line has a summary of each detector. Exit code: 0, 1 if some files could not be read, 2 if none could.
    """
    given = {"detect.input_size": size, "detect.score": score, "detect.nms_iou": iou, "detect.min_face": min_face}
    overrides = {key: value for key, value in {**given, "decode.video_step": every}.items() if value is not None}
    config = load(config_file, overrides)
    names = tuple(dict.fromkeys(detectors)) or (config.models.detector,)
    Registry(data_folder()).need(*names)
    found = list(find(paths))
    if out is not None and len(names) > 1:
        raise click.UsageError("--out draws what one detector finds; name one")
    target = None if out is None else Target(out, [one for one in found if isinstance(one, Found)])
    looks = [_Look(name, load(config_file, {**overrides, "models.detector": name})) for name in names]
    refused = 0
    with Chain([build("decode", config)]) as decoder:
        for look in looks:
            look.chain.open()
        try:
            for number, one in enumerate(found, start=1):
                refused += not _one(decoder, looks, one, number, target, as_json=as_json, alone=len(found) == 1)
        finally:
            for look in looks:
                look.chain.close()
    if as_json:
        print_json({"summary": [look.tally.told() for look in looks]})
    elif len(looks) > 1 or len(found) > 1:
        _tell([look.tally for look in looks])
    if target is not None:
        for path in target.written:
            say(f"wrote {path}")
    ctx.exit(0 if not refused else 2 if refused == len(found) else 1)


class _Look:
    """One detector, its chain of one stage, and what it found."""

    def __init__(self, name: str, config: Config) -> None:
        self.tally = Tally(detector=name, counts=Counter())
        self.chain = Chain(
            [build("detect", config)], Context(stopping=Event(), report=lambda _: None, count=self._count)
        )

    def at(self, frame: Frame) -> tuple[Detections, float]:
        """What it finds, and how long that took."""
        begun = time.perf_counter()
        (message,) = self.chain.process([frame])
        seconds = time.perf_counter() - begun
        assert isinstance(message, Detections)
        self.tally.pictures += 1
        self.tally.with_faces += bool(message.faces)
        self.tally.faces += len(message.faces)
        self.tally.seconds += seconds
        return message, seconds

    def _count(self, name: str, count: int) -> None:
        self.tally.counts[name] += count


def _one(
    decoder: Chain,
    looks: Sequence[_Look],
    found: Found | Unusable,
    number: int,
    target: Target | None,
    *,
    as_json: bool,
    alone: bool,
) -> bool:
    """Look at one file, and say what is in it; whether it could be used."""
    reason = found.reason if isinstance(found, Unusable) else None
    if isinstance(found, Found) and found.kind not in ("photo", "video"):
        reason = "a camera is for `vultus watch`; this is for files"
    if reason is None and isinstance(found, Found):
        ended: list[ItemEnd] = []
        frames = _frames(decoder, found, number, ended)
        pictures = _seen(frames, looks, found, as_json=as_json, table=alone and found.kind == "photo")
        if target is None:
            for _ in pictures:
                pass
        else:
            target.draw(found, pictures)
        reason = ended[0].refused if ended else None
    if reason is not None:
        say(f"refused: {found.source}: {reason}", style="yellow")
        if as_json:
            print_json({"source": shown(found.source), "error": reason})
    return reason is None


def _frames(decoder: Chain, found: Found, number: int, ended: list[ItemEnd]) -> Iterator[Frame]:
    for message in decoder.process([found.item(number)]):
        if isinstance(message, Frame):
            yield message
        elif isinstance(message, ItemEnd):
            ended.append(message)


def _seen(
    frames: Iterator[Frame], looks: Sequence[_Look], found: Found, *, as_json: bool, table: bool
) -> Iterator[Drawn]:
    """Each frame, with what the last detector finds in it, once that is said."""
    most = dict.fromkeys((look.tally.detector for look in looks), 0)
    number = 0
    for frame in frames:
        number += 1
        for look in looks:
            name = look.tally.detector
            message, seconds = look.at(frame)
            most[name] = max(most[name], len(message.faces))
            if as_json:
                print_json(_json(message, name, seconds))
            elif table:
                _print(found.source, message.faces, name, seconds)
        yield Drawn(image=frame.image, faces=message.faces, position=frame.origin.position)
    if not as_json and not table and number:
        for name, faces in most.items():
            seen = counted(faces, "face")
            if found.kind == "video":
                seen = f"up to {seen} at a time in {counted(number, 'frame')}"
            say(f"{found.source}: {seen}{'' if len(looks) == 1 else f' by {name}'}")


def _json(message: Detections, detector: str, seconds: float) -> dict[str, object]:
    return {
        "source": shown(message.origin.source),
        "position": message.origin.position,
        "width": message.image.width,
        "height": message.image.height,
        "detector": detector,
        "milliseconds": round(1000 * seconds, 2),
        "faces": [
            {
                "box": [round(value, 2) for value in face.box],
                "score": round(face.score, 4),
                "landmarks": [[round(x, 2), round(y, 2)] for x, y in face.landmarks],
            }
            for face in message.faces
        ],
    }


def _print(source: str, faces: Sequence[Face], detector: str, seconds: float) -> None:
    table(
        f"{source}: {counted(len(faces), 'face')} by {detector} in {1000 * seconds:.1f} ms",
        (">face", ">box", ">score", "right eye", "left eye", "nose", "mouth, right", "mouth, left"),
        (
            (
                number,
                "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box),
                f"{face.score:.3f}",
                *(f"{x:.0f},{y:.0f}" for x, y in face.landmarks),
            )
            for number, face in enumerate(faces[:_LINES], start=1)
        ),
    )
    if len(faces) > _LINES:
        say(f"and {counted(len(faces) - _LINES, 'more face')}; --json lists all")


def _tell(tallies: Sequence[Tally]) -> None:
    table(
        "",
        ("detector", ">pictures", ">with faces", ">faces", ">too small", ">no landmarks", ">ms a picture"),
        (
            (
                one.detector,
                one.pictures,
                one.with_faces,
                one.faces,
                one.counts["too_small"],
                one.counts["no_landmarks"],
                one.milliseconds,
            )
            for one in tallies
        ),
    )
