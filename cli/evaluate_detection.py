"""`vultus evaluate detection`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import numpy as np
from msgspec import Struct

from vultus.cli.console import print_json, say, table
from vultus.cli.curves import curves
from vultus.cli.evaluate_options import (
    evaluation,
    percent,
    reader,
    shown,
    tell_refused,
    with_models,
)
from vultus.cli.evaluate_page import page
from vultus.cli.options import detector_option
from vultus.cli.pages import write
from vultus.evaluation import widerface
from vultus.evaluation.detection import Picture, Precision, average_precision


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    detector: str
    max_side: int
    score: float
    pictures: int
    average_precision: dict[str, Precision]
    refused: dict[str, str]


@click.command()
@click.option(
    "--widerface",
    "folder",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="WIDER_val, wider_face_split and the ground truth of eval_tools, unpacked below one folder.",
)
@click.option(
    "--score",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="Boxes from this confidence on count; the protocol wants as many as there are.",
)
@click.option(
    "--max-side",
    type=click.IntRange(64, 8192),
    default=2048,
    show_default=True,
    help="Pictures whose longer side exceeds this are shrunk to it. WIDER's are 1024 pixels wide, a few of them 3,000 high.",
)
@detector_option
@evaluation
def detection(
    folder: Path,
    score: float,
    max_side: int,
    detector: str | None,
    work: Path | None,
    out_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Judge a detector on WIDER FACE's validation set. Gives the average precision for easy, medium and hard faces.

    The protocol is the published one, at one size of each picture. The ground truth is read from the published .mat files
    (pip install 'vultus[widerface]').

    \b
      vultus evaluate detection --widerface ~/widerface --detector yunet_2023mar
    """
    config = with_models(config_file, detector, None)
    settings = msgspec.structs.replace(config.detect, score=score, photo_max_side=max_side, min_face=1, landmarks="own")
    config = msgspec.structs.replace(config, detect=settings)
    truths = widerface.read(folder)
    images = _images(folder, truths[0].picture)
    refused: dict[str, str] = {}
    judged = []
    with reader(config, work) as faces, shown("pictures", visible=not as_json) as progress:
        paths = [images / f"{truth.picture}.jpg" for truth in truths]
        for truth, (path, looks, trouble) in zip(truths, faces.faces(paths, progress), strict=True):
            if trouble is not None:
                refused[str(path)] = trouble
            judged.append(
                Picture(
                    faces=truth.faces,
                    counted=truth.counted,
                    boxes=np.array([look.face.box for look in looks], np.float64).reshape(-1, 4),
                    scores=np.array([look.face.score for look in looks], np.float64),
                )
            )
    report = Report(
        detector=faces.detector.name,
        max_side=max_side,
        score=score,
        pictures=len(truths),
        average_precision=average_precision(judged),
        refused=refused,
    )
    levels = [(level, report.average_precision[level]) for level in widerface.DIFFICULTIES]
    if out_file is not None:
        chart = curves({level: one.curve for level, one in levels}, "recall", "precision")
        facts = [(level, f"{percent(one.average)} of {one.faces} faces") for level, one in levels]
        write(out_file, page(f"WIDER FACE, {report.detector}", facts, [("Precision and recall", chart)]))
        say(f"wrote {out_file}")
    if as_json:
        print_json(report)
        return
    tell_refused(refused)
    table(
        f"WIDER FACE, {report.pictures} pictures of the validation set, {report.detector}",
        ("faces", ">average precision", ">of faces"),
        ((level, percent(one.average), one.faces) for level, one in levels),
    )


def _images(folder: Path, picture: str) -> Path:
    """The folder that the pictures are below."""
    for found in sorted(folder.rglob(f"{picture}.jpg")):
        return found.parents[1]
    raise FileNotFoundError(
        f"{folder}: {picture}.jpg is not there; the archive WIDER_val of WIDER FACE holds the pictures"
    )
