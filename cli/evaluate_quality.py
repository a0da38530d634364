"""`vultus evaluate quality`."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from msgspec import Struct

from vultus.cli.console import print_json, say, table
from vultus.cli.curves import curves
from vultus.cli.evaluate_faces import Look
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
from vultus.evaluation.rejection import Rejection, rejection

_MEASURES = ("quality", "size", "sharpness", "pose", "exposure", "score")
_MOST_PAIRS = 1_000_000


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    detector: str
    landmarks: Landmarks
    """Whose faces are aligned by."""
    embedder: str
    pairs: int
    no_face: int
    measures: dict[str, Rejection]
    refused: dict[str, str]


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True), metavar="DIR|LIST")
@click.option(
    "--refused",
    "share",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.02,
    show_default=True,
    help="Share of the pairs of one person that the threshold refuses before any is left out (FNMR).",
)
@of_embeddings
@evaluation
def quality(
    images: Path,
    share: float,
    detector: str | None,
    embedder: str | None,
    mirrored: bool,
    work: Path | None,
    out_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Judge measures of quality. Says how many errors go away with the pictures that they call bad.

    All photographs of each person in DIR (a folder with one for each person, or a list of `PERSON<tab>PHOTO` lines) are
    compared with each other. At the threshold that refuses the share --refused of these pairs, those with the worst picture
    are left out first. A gain of 1 is a measure that knows the errors, 0 one that knows nothing.

    \b
      vultus evaluate quality lfw/ --out report.html
    """
    config = with_models(config_file, detector, embedder)
    listed = people.read(images)
    first, second = _pairs([name for name, _ in listed])
    with reader(config, work, mirrored=mirrored) as faces, shown("pictures", visible=not as_json) as progress:
        judged = faces.judged([photo for _, photo in listed], progress)
    both = judged.found[first] & judged.found[second]
    first, second = first[both], second[both]
    genuine = np.einsum("nd,nd->n", judged.vectors[first], judged.vectors[second]).astype(np.float64)
    measures = {}
    for name in _MEASURES:
        values = np.array([_measure(look, name) for look in judged.looks])
        measures[name] = rejection(genuine, np.minimum(values[first], values[second]), share)
    if judged.lengths is not None:
        worse = np.minimum(judged.lengths[first], judged.lengths[second])
        measures["magnitude"] = rejection(genuine, worse, share)
    report = Report(
        detector=faces.detector.name,
        landmarks=config.detect.landmarks,
        embedder=faces.embedder.name,
        pairs=len(genuine),
        no_face=int((~judged.found).sum()),
        measures=measures,
        refused=judged.refused,
    )
    models = models_in_words(report.detector, report.landmarks, report.embedder, mirrored=mirrored)
    title = f"{report.pairs} pairs of one person, {models}; no face in {report.no_face}"
    if out_file is not None:
        chart = curves({name: one.curve for name, one in measures.items()}, "pairs left out", "FNMR of the others")
        facts = [(name, f"gain {one.gain:.2f}") for name, one in measures.items()]
        write(out_file, page("Error versus reject", [("set", title), *facts], [("Error versus reject", chart)]))
        say(f"wrote {out_file}")
    if as_json:
        print_json(report)
        return
    tell_refused(judged.refused)
    table(
        title,
        ("measure", ">gain", ">FNMR, none left out", ">5%", ">10%", ">20%"),
        (
            (name, f"{one.gain:.2f}", *(percent(dict(one.curve)[step]) for step in _steps(one)))
            for name, one in measures.items()
        ),
    )


def _steps(of: Rejection) -> list[float]:
    return [min((at for at, _ in of.curve), key=lambda at: abs(at - wanted)) for wanted in (0.0, 0.05, 0.1, 0.2)]


def _measure(look: Look | None, name: str) -> float:
    return float(getattr(look.grade, name)) if look else 0.0


def _pairs(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of photographs of one person."""
    photos: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        photos.setdefault(name, []).append(at)
    count = sum(len(one) * (len(one) - 1) // 2 for one in photos.values())
    if not 2 <= count <= _MOST_PAIRS:
        raise click.UsageError(f"{count} pairs of one person; 2 to {_MOST_PAIRS} can be judged")
    pairs = np.array([(a, b) for one in photos.values() for i, a in enumerate(one) for b in one[i + 1 :]], np.int64)
    return pairs[:, 0], pairs[:, 1]
