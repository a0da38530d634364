"""`vultus evaluate verification`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.cli.console import counted, line, print_json, say, table
from vultus.cli.curves import curves
from vultus.cli.evaluate_faces import FaceReader, Judged, Pixels, Progress, aligned_chip
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
from vultus.cli.evaluate_page import Wrong, page
from vultus.cli.pages import write
from vultus.configs.schema import Config
from vultus.evaluation import bin_set, pairs
from vultus.evaluation.trials import MISSED, Rates, all_against_all, rates
from vultus.evaluation.verification import Accuracy
from vultus.evaluation.verification import verification as judge

_WORST = 12
_MOST_PICTURES = 50_000
"""For comparing every picture with every other one, which takes the square of it."""


class InUse(Struct, frozen=True, kw_only=True):
    """What the threshold does that the model suggests, or the configuration says."""

    threshold: float
    tar: float
    far: float


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    set: str
    detector: str | None
    """None for pictures that are aligned already."""
    landmarks: Landmarks | None
    """Whose faces are aligned by; likewise."""
    embedder: str
    mirrored: bool
    pictures: int
    no_face: int
    pairs: int
    accuracy: Accuracy | None
    """None if all pairs are of one kind."""
    rates: Rates | None
    in_use: InUse | None
    everyone: Rates | None = None
    """Of all pictures with all others."""
    refused: dict[str, str] = {}


class _Set(Struct, kw_only=True, eq=False):
    """A list of pairs and their pictures, whatever form they came in."""

    pairs: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64] | None
    people: npt.NDArray[np.int64] | None
    """A number for each picture."""
    names: tuple[str, ...]
    photos: tuple[Path, ...] = ()
    aligned: tuple[bytes, ...] = ()

    def judged(self, faces: FaceReader, progress: Progress) -> Judged:
        return faces.aligned(self.aligned, progress) if self.aligned else faces.judged(self.photos, progress)

    def chip(self, at: int, faces: FaceReader, config: Config) -> Pixels | None:
        return aligned_chip(self.aligned[at], config) if self.aligned else faces.chip(self.photos[at])


@click.command()
@click.argument("pairs_file", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="PAIRS")
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Where the photographs of a pairs.txt are, as NAME/NAME_0001.jpg.",
)
@click.option(
    "--everyone",
    is_flag=True,
    help="Besides, compare every photograph with every other one: many more pairs, for the rarer false alarms.",
)
@of_embeddings
@evaluation
def verification(
    pairs_file: Path,
    images: Path | None,
    everyone: bool,
    detector: str | None,
    embedder: str | None,
    mirrored: bool,
    work: Path | None,
    out_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Judge the models on PAIRS of pictures. The protocol is that of Labeled Faces in the Wild.

    PAIRS is a list in the form of LFW's pairs.txt, with --images, or a set of InsightFace (lfw.bin, cfp_fp.bin, agedb_30.bin),
    whose pictures are aligned already. Accuracy is that of ten folds, each judged with the threshold that is best on the
    other nine; TAR is the share of pairs of one person that is accepted where impostors are at the rate FAR. Pictures without
    a face count as refused. Intervals are 95%.

    \b
      vultus evaluate verification lfw/pairs.txt --images lfw --out report.html
      vultus evaluate verification cfp_fp.bin --embedder sface_2021dec --mirrored
    """
    config = with_models(config_file, detector, embedder)
    of = _read(pairs_file, images)
    if everyone and of.people is None:
        raise click.UsageError("--everyone needs to know who is on each picture, and a .bin set does not say it")
    if everyone and len(of.names) > _MOST_PICTURES:
        raise click.UsageError(f"--everyone compares at most {_MOST_PICTURES} pictures with each other")
    with reader(config, work, mirrored=mirrored) as faces:
        with shown("pictures", visible=not as_json) as progress:
            judged = of.judged(faces, progress)
        scores = judged.similarities(of.pairs, MISSED)
        threshold = config.match.threshold if config.match.threshold is not None else faces.embedder.threshold
        both = bool(of.same.any() and not of.same.all())
        people = None if of.people is None else of.people[of.pairs]
        found = judge(scores, of.same, people, of.fold) if both else None
        report = Report(
            set=str(pairs_file),
            detector=None if of.aligned else faces.detector.name,
            landmarks=None if of.aligned else config.detect.landmarks,
            embedder=faces.embedder.name,
            mirrored=mirrored,
            pictures=len(of.names),
            no_face=int(np.count_nonzero(~judged.found)),
            pairs=len(of.same),
            accuracy=found.accuracy if found else None,
            rates=found.rates if found else None,
            in_use=None if threshold is None else _in_use(scores, of.same, threshold),
            everyone=rates(all_against_all(judged.vectors, of.people), rounds=300)
            if everyone and of.people is not None
            else None,
            refused=judged.refused,
        )
        if out_file is not None:
            write(out_file, _page(report, scores, of, lambda at: of.chip(at, faces, config)))
            say(f"wrote {out_file}")
    if as_json:
        print_json(report)
        return
    tell_refused(judged.refused)
    _tell(report, scores)


def _read(path: Path, images: Path | None) -> _Set:
    if path.suffix == ".bin":
        if images is not None:
            raise click.UsageError("a .bin set holds its pictures; --images goes with a pairs.txt")
        whole = bin_set.read(path)
        count = len(whole.pictures)
        return _Set(
            pairs=np.arange(count).reshape(-1, 2),
            same=whole.same,
            fold=None,
            people=None,
            names=tuple(f"picture {number + 1}" for number in range(count)),
            aligned=whole.pictures,
        )
    if images is None:
        raise click.UsageError("--images DIR says where the photographs of the list are")
    listed = pairs.read(path)
    return _Set(
        pairs=listed.pairs,
        same=listed.same,
        fold=listed.fold,
        people=listed.people,
        names=listed.photos,
        photos=tuple(pairs.locate(images, photo) for photo in listed.photos),
    )


def _in_use(scores: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], threshold: float) -> InUse:
    accepted = scores >= threshold
    return InUse(
        threshold=threshold,
        tar=float(accepted[same].mean()) if same.any() else 1.0,
        far=float(accepted[~same].mean()) if not same.all() else 0.0,
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    """The figures in words, for the terminal and the page."""
    facts = [("pairs", f"{report.pairs} of {counted(report.pictures, 'picture')}; no face in {report.no_face}")]
    facts.append(
        ("models", models_in_words(report.detector, report.landmarks, report.embedder, mirrored=report.mirrored))
    )
    if report.accuracy is not None:
        one = report.accuracy
        between = f"95%: {percent(one.between[0])} to {percent(one.between[1])}"
        facts.append(("accuracy", f"{percent(one.mean)} ± {percent(one.deviation)} over folds ({between})"))
        facts.append(("threshold of the folds", f"{one.threshold:.3f}"))
    if report.rates is not None:
        facts += rate_facts(report.rates)
    if report.in_use is not None:
        one_rate = f"TAR {percent(report.in_use.tar)}, FAR {report.in_use.far:.2g}"
        facts.append((f"at the threshold in use, {report.in_use.threshold:.3f}", one_rate))
    if report.everyone is not None:
        count = f"{report.everyone.genuine} pairs of one person, {report.everyone.impostors} of two"
        facts += [("everyone with everyone", count), *rate_facts(report.everyone)]
    return facts


def rate_facts(of: Rates) -> list[tuple[str, str]]:
    """Lines about TAR and EER."""
    facts = []
    for one in of.tar:
        few = f"; rests on {counted(one.accepted, 'impostor pair')}" if one.few else ""
        between = f"{percent(one.between[0])} to {percent(one.between[1])}"
        facts.append((f"TAR at FAR {one.far:g}", f"{percent(one.tar)} ({between}), threshold {one.threshold:.3f}{few}"))
    facts += [
        (
            f"TAR at FAR {far:g}",
            f"not to be told from {of.impostors} impostor pairs: one in {round(1 / far)}",
        )
        for far in of.not_measured
    ]
    facts.append(("EER", f"{percent(of.eer)} ({percent(of.eer_between[0])} to {percent(of.eer_between[1])})"))
    return facts


def _tell(report: Report, scores: npt.NDArray[np.float64]) -> None:
    table("", ("", ""), _facts(report))
    if report.accuracy is None:
        compared = scores[scores > MISSED]
        where = f"; similarities {compared.min():.3f} to {compared.max():.3f}" if len(compared) else ""
        line(f"All pairs are of one kind, so there is no accuracy to be told{where}")


def _page(report: Report, scores: npt.NDArray[np.float64], of: _Set, chip: Callable[[int], Pixels | None]) -> str:
    charts = []
    rows = {
        name: [(far, tar) for far, tar, _ in one.roc]
        for name, one in (("pairs", report.rates), ("everyone", report.everyone))
        if one is not None
    }
    if rows:
        charts.append(("ROC", curves(rows, "FAR", "TAR", log_x=True)))
    compared = scores > MISSED
    edges = np.linspace(-1, 1, 101)
    shares = {}
    for name, kind in (("one person", of.same & compared), ("two people", ~of.same & compared)):
        if kind.any():
            counts = np.histogram(scores[kind], edges)[0] / np.count_nonzero(kind)
            shares[name] = list(zip(((edges[1:] + edges[:-1]) / 2).tolist(), counts.tolist(), strict=True))
    charts.append(("Similarities", curves(shares, "cosine", "share of the pairs")))
    pictures = []
    for heading, kind, order in (
        ("One person, least similar", of.same, scores),
        ("Two people, most similar", ~of.same, -scores),
    ):
        worst = np.flatnonzero(kind)[np.argsort(order[kind], kind="stable")[:_WORST]].tolist()
        pictures.append((heading, [_wrong(of, at, float(scores[at]), chip) for at in worst]))
    return page("Verification", [("set", report.set), *_facts(report)], charts, pictures)


def _wrong(of: _Set, at: int, score: float, chip: Callable[[int], Pixels | None]) -> Wrong:
    first, second = (int(one) for one in of.pairs[at])
    told = "no face" if score == MISSED else f"{score:.3f}"
    names = " and ".join(of.names[one].rpartition("/")[2] for one in (first, second))
    return Wrong(first=chip(first), second=chip(second), caption=f"{told}: {names}")
