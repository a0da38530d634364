"""`vultus evaluate identification`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
import numpy as np
from msgspec import Struct

from vultus.cli.console import counted, print_json, say, table
from vultus.cli.curves import curves
from vultus.cli.evaluate_faces import Judged
from vultus.cli.evaluate_options import (
    Landmarks,
    evaluation,
    models_in_words,
    of_embeddings,
    percent,
    reader,
    shown,
    tell_refused,
    with_models,
)
from vultus.cli.evaluate_page import page
from vultus.cli.pages import write
from vultus.evaluation import people
from vultus.evaluation.identification import Fusion, Identification, search
from vultus.evaluation.identification import identification as judge


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    detector: str
    landmarks: Landmarks
    """Whose faces are aligned by."""
    embedder: str
    mirrored: bool
    fusion: Fusion
    result: Identification
    refused: dict[str, str]


@click.command()
@click.option(
    "--gallery",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR|LIST",
    help="Who is enrolled: a folder with one for each person, or a list of `PERSON<tab>PHOTO` lines.",
)
@click.option(
    "--probes",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR|LIST",
    help="Who is searched for, likewise: people of the gallery, and strangers under other names.",
)
@click.option(
    "--fusion",
    type=click.Choice(get_args(Fusion)),
    default="best",
    show_default=True,
    help="What several faces of one person become: the best counts, or their mean, plain or weighted by quality.",
)
@of_embeddings
@evaluation
def identification(
    gallery: Path,
    probes: Path,
    fusion: Fusion,
    detector: str | None,
    embedder: str | None,
    mirrored: bool,
    work: Path | None,
    out_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Judge the models at naming people. Some who are asked for are not in the gallery.

    FPIR is the share of strangers' photographs that are taken for somebody, FNIR at a threshold the share of known people's
    that are not recognised; CMC says how often the right person is among the first. Intervals are 95%.

    \b
      vultus evaluate identification --gallery enrolled/ --probes asked/ --out report.html
    """
    config = with_models(config_file, detector, embedder)
    enrolled, asked = people.read(gallery), people.read(probes)
    both = {photo for _, photo in enrolled} & {photo for _, photo in asked}
    if both:
        raise click.UsageError(
            f"{counted(len(both), 'photograph')} of the gallery would be searched for, such as {min(both)}"
        )
    names = {name: number for number, name in enumerate(sorted({name for name, _ in enrolled + asked}))}
    with reader(config, work, mirrored=mirrored) as faces, shown("pictures", visible=not as_json) as progress:
        judged = faces.judged([photo for _, photo in enrolled + asked], progress)
    owners = np.array([names[name] for name, _ in enrolled + asked], np.int64)
    found = search(
        (judged.vectors[: len(enrolled)], owners[: len(enrolled)], _quality(judged)[: len(enrolled)]),
        (judged.vectors[len(enrolled) :], owners[len(enrolled) :]),
        fusion,
    )
    report = Report(
        detector=faces.detector.name,
        landmarks=config.detect.landmarks,
        embedder=faces.embedder.name,
        mirrored=mirrored,
        fusion=fusion,
        result=judge(found, len({name for name, _ in enrolled})),
        refused=judged.refused,
    )
    facts = _facts(report, len(enrolled))
    if out_file is not None:
        write(out_file, _page(report.result, facts))
        say(f"wrote {out_file}")
    if as_json:
        print_json(report)
        return
    tell_refused(judged.refused)
    table("", ("", ""), facts)


def _quality(judged: Judged) -> np.ndarray:
    return np.array([look.grade.quality if look else 0.0 for look in judged.looks])


def _facts(report: Report, enrolled: int) -> list[tuple[str, str]]:
    of = report.result
    facts = [
        ("gallery", f"{of.people} people, {counted(enrolled, 'photograph')}; fusion: {report.fusion}"),
        ("probes", f"{of.mated} of them, {of.non_mated} of strangers; no face in {of.missed} of the former"),
        ("models", models_in_words(report.detector, report.landmarks, report.embedder, mirrored=report.mirrored)),
    ]
    for one in of.fnir:
        few = f"; rests on {counted(one.accepted, 'stranger')}" if one.few else ""
        between = f"{percent(one.between[0])} to {percent(one.between[1])}"
        facts.append(
            (f"FNIR at FPIR {one.fpir:g}", f"{percent(one.fnir)} ({between}), threshold {one.threshold:.3f}{few}")
        )
    facts += [
        (f"FNIR at FPIR {fpir:g}", f"not to be told from {counted(of.non_mated, 'stranger')}: one in {round(1 / fpir)}")
        for fpir in of.not_measured
    ]
    facts += [(f"among the first {rank}" if rank > 1 else "first", percent(share)) for rank, share in of.cmc]
    return facts


def _page(of: Identification, facts: list[tuple[str, str]]) -> str:
    det = curves({"FNIR": of.det}, "FPIR", "FNIR", log_x=True, log_y=True)
    cmc = curves({"found": [(float(rank), share) for rank, share in of.cmc]}, "rank", "share found", log_x=True)
    return page("Identification", facts, [("DET", det), ("CMC", cmc)])
