"""`vultus query`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
from msgspec import Struct

from vultus.cli.console import print_json, progress, say, shown, table
from vultus.cli.options import config_option, configured, detector_option, gallery_option, json_option
from vultus.cli.persons import person_meant
from vultus.cli.photographs import photographs
from vultus.cli.picture import Mark, picture_file, save_marked
from vultus.configs.address import Place
from vultus.index import Gallery, Match, Where
from vultus.index.configured import open_gallery
from vultus.index.veil import Veil
from vultus.pipeline.errors import RefusedInput
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.stages.gallery import threshold as threshold_of
from vultus.stages.sources import Unusable

_TOGETHER = 32
"""Pictures whose faces are searched for in one batch."""

_NEAR = 5
"""People among whom the one is looked for whose face a picture is not to show."""
DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "-k", "k", type=click.IntRange(1, 1000), metavar="K", default=5, show_default=True, help="Matches for each face."
)
@click.option("--person", "people", multiple=True, metavar="NAME", help="Look at this person only; may be repeated.")
@click.option("--collection", metavar="NAME", help="Look at faces of this collection only.")
@click.option("--source", metavar="PREFIX", help="Look at faces from sources that begin so, a folder for one.")
@click.option(
    "--after", type=DATE, metavar="DATE", help="Look at faces seen then or later, UTC: 2026-11-22 or 2026-11-22T14:30."
)
@click.option(
    "--before",
    type=DATE,
    metavar="DATE",
    help="Look at faces seen before that; with either, faces without a time are left out.",
)
@click.option("--min-quality", type=click.FloatRange(0, 1), help="Look at faces of this quality or better.")
@click.option(
    "--faces", "speakers", type=click.IntRange(1, 100), default=1, help="Faces that speak for each person, in JSON."
)
@gallery_option
@config_option
@detector_option
@click.option(
    "--out",
    "out_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=picture_file,
    metavar="FILE",
    help="Write the picture, of a single IMAGE, with boxes and names; hidden people, and those whom `privacy` names, are "
    "made unrecognisable.",
)
@json_option
@click.pass_context
def query(
    ctx: click.Context,
    images: tuple[Path, ...],
    k: int,
    people: tuple[str, ...],
    collection: str | None,
    source: str | None,
    after: datetime | None,
    before: datetime | None,
    min_quality: float | None,
    speakers: int,
    gallery_dir: Place | None,
    config_file: Path | None,
    detector: str | None,
    out_file: Path | None,
    as_json: bool,
) -> None:
    """For every face of each IMAGE, the most similar people of the gallery, best first.

    IMAGE is a photo, or a folder: all photos below it. Of a single photo each face is a table with K matches; of several all
    are one table, with the best match of each face. A photo that cannot be read is named, and the others go on.

    People are grouped: a person with many faces is one row, with the face that is nearest. Unknown people (`vultus
    unknowns`) have a number in place of a name; faces that belong to nobody stand for themselves. Similarity is the cosine
    of the two embeddings; at or above the threshold (the configured one, that of `vultus calibrate`, or the model's) two
    faces count as one person, below it the row is only the nearest there is.

    With --json each photo is an object on a line of its own, as soon as it is looked at: image, model, and faces with their
    matches, or error. Exit code: 0, 1 if some photos could not be read, 2 if none could.
    """
    config, _ = configured(config_file, gallery_dir, detector)
    alone = len(images) == 1 and not images[0].is_dir()
    if out_file is not None and not alone:
        raise click.UsageError("--out writes one picture; name a single photo with it")
    photos = [_asked(image) for image in photographs(images)]
    if not photos:
        raise click.ClickException("no photo found in " + ", ".join(str(image) for image in images))
    with FaceFinder(config) as finder, open_gallery(config, finder.model.fingerprint) as gallery:
        where = Where(
            people=tuple(person_meant(gallery, name).id for name in people) or None,
            collection=collection,
            source=source,
            after=None if after is None else after.replace(tzinfo=UTC).timestamp(),
            before=None if before is None else before.replace(tzinfo=UTC).timestamp(),
            quality=min_quality,
        )
        threshold = threshold_of(config, finder.model, gallery)
        if config.match.threshold is None and (stale := gallery.calibration.stale()) is not None:
            say(f"{stale}; `vultus calibrate` sets it anew", style="yellow")
        answers: list[Answer] = []
        for answer in _answered(finder, gallery, photos, k, where, speakers):
            if answer.error is not None and alone:
                raise click.ClickException(f"{answer.image}: {answer.error}")
            if answer.error is not None:
                say(f"refused: {answer.image}: {answer.error}", style="yellow")
            if out_file is not None and answer.picture is not None:
                _draw(gallery, answer, threshold, Veil(config.privacy), out_file)
            if as_json:
                print_json(_answer_json(answer, finder.model.name))
            answer.picture = None
            answers.append(answer)
    if not as_json and alone:
        _print_one(answers[0], threshold)
    elif not as_json:
        _print_all(answers, threshold)
    refused = sum(answer.error is not None for answer in answers)
    ctx.exit(0 if not refused else 2 if refused == len(answers) else 1)


class Answer(Struct, kw_only=True, eq=False):
    """What became of one photo."""

    image: Path
    error: str | None = None
    """Why it could not be read."""
    picture: np.ndarray | None = None
    faces: list[FoundFace] = []
    matches: list[list[Match]] = []
    """Of each face."""


def _asked(image: Path | Unusable) -> Answer:
    """An answer that is still to be given, or that there is none."""
    if isinstance(image, Unusable):
        return Answer(image=Path(image.source), error=image.reason)
    return Answer(image=image)


def _answered(
    finder: FaceFinder, gallery: Gallery, photos: Sequence[Answer], k: int, where: Where, speakers: int
) -> Iterator[Answer]:
    """Fill the answers in, the faces of several photos searched for in one batch."""
    with progress(visible=len(photos) > 1) as bar:
        task = bar.add_task("photos", total=len(photos))
        for start in range(0, len(photos), _TOGETHER):
            part = photos[start : start + _TOGETHER]
            for answer in part:
                _look(finder, answer, keep=len(photos) == 1)
                bar.advance(task)
            vectors = [face.vector for answer in part for face in answer.faces]
            found = iter(gallery.search(vectors, k, where=where, faces=speakers) if vectors else [])
            for answer in part:
                answer.matches = [next(found) for _ in answer.faces]
                yield answer


def _look(finder: FaceFinder, answer: Answer, *, keep: bool) -> None:
    if answer.error is not None:
        return
    try:
        picture = finder.read(answer.image)
        answer.faces = finder.find(picture)
    except RefusedInput as error:
        answer.error = str(error)
    else:
        answer.picture = picture if keep else None


def _draw(gallery: Gallery, answer: Answer, threshold: float, veil: Veil, file: Path) -> None:
    if answer.picture is None:
        return
    veiled = _veiled(gallery, answer.faces, threshold, veil) if answer.faces else []
    marks = [
        Mark(box=face.box, text="", known=False, veiled=True) if covered else _mark(face, matches, threshold)
        for face, matches, covered in zip(answer.faces, answer.matches, veiled, strict=True)
    ]
    save_marked(answer.picture, marks, file)
    say(f"wrote {file}")


def _veiled(gallery: Gallery, faces: Sequence[FoundFace], threshold: float, veil: Veil) -> list[bool]:
    """Which faces are not to be shown, whoever was searched for."""
    veiled = []
    for matches in gallery.search([face.vector for face in faces], _NEAR, threshold, Where(hidden=None)):
        meant = _meant(matches, threshold)
        name, hidden = (None, False) if meant is None else (meant.name, meant.hidden or matches[0].hidden)
        veiled.append(veil.over(name, hidden=hidden))
    return veiled


def _meant(matches: Sequence[Match], threshold: float) -> Match | None:
    """The match that says who it is: the best with a name, since a face that nobody has named may be of that person."""
    near = [match for match in matches if match.similarity >= threshold]
    return next((match for match in near if match.name is not None), near[0] if near else None)


def _who(match: Match) -> str:
    return match.name or ("(no name)" if match.identity is None else f"unknown {match.identity}")


def _print_one(answer: Answer, threshold: float) -> None:
    if not answer.faces:
        say(f"{answer.image}: no face found")
    for number, (face, matches) in enumerate(zip(answer.faces, answer.matches, strict=True), start=1):
        _print_face(number, face, matches, threshold)


def _print_all(answers: Sequence[Answer], threshold: float) -> None:
    """One table of all photos: each face with the match that says who it is, or the nearest there is."""
    rows, calibrated = list[tuple[str, ...]](), False
    for answer in answers:
        name = str(answer.image)
        if answer.error is not None or not answer.faces:
            rows.append((name, "", "", "", "", "no face found" if answer.error is None else "not read", "", ""))
        for face, matches in zip(answer.faces, answer.matches, strict=True):
            x, y, w, h = (round(value) for value in face.box)
            place = (name, f"{x},{y} {w}×{h}", f"{face.quality:.2f}")
            best = _meant(matches, threshold) or next(iter(matches), None)
            if best is None:
                rows.append((*place, "", "", "nobody to compare with", "", ""))
                continue
            calibrated |= best.probability is not None
            said = "match" if best.similarity >= threshold else ""
            rows.append((*place, f"{best.similarity:.3f}", _percent(best.probability), _who(best), said, best.source))
    columns = ("photo", ">face", ">quality", ">similarity", ">probability", "who", "", "seen in")
    shown_columns = [at for at in range(len(columns)) if calibrated or columns[at] != ">probability"]
    table("", [columns[at] for at in shown_columns], ([row[at] for at in shown_columns] for row in rows))


def _print_face(number: int, face: FoundFace, matches: Sequence[Match], threshold: float) -> None:
    x, y, w, h = (round(value) for value in face.box)
    best = _meant(matches, threshold)
    calibrated = any(match.probability is not None for match in matches)
    verdict = "unknown" if best is None else best.name or f"seen before: {_who(best)}"
    table(
        f"Face {number} at {x},{y} {w}×{h}, quality {face.quality:.2f}: {verdict}",
        (">similarity", *([">probability"] if calibrated else []), "who", "", "seen in"),
        (
            (
                f"{match.similarity:.3f}",
                *([_percent(match.probability)] if calibrated else []),
                _who(match),
                "match" if match.similarity >= threshold else "",
                match.source,
            )
            for match in matches
        ),
    )


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.1%}"


def _answer_json(answer: Answer, model: str) -> dict[str, object]:
    told: dict[str, object] = {"image": shown(str(answer.image)), "model": model}
    if answer.error is not None:
        return told | {"error": answer.error}
    return told | {
        "faces": [_face_json(face, matches) for face, matches in zip(answer.faces, answer.matches, strict=True)]
    }


def _face_json(face: FoundFace, matches: Sequence[Match]) -> dict[str, object]:
    return {
        "box": [round(value, 2) for value in face.box],
        "landmarks": [[round(x, 2), round(y, 2)] for x, y in face.landmarks],
        "score": round(face.score, 4),
        "quality": round(face.quality, 4),
        "matches": [
            {
                "identity": match.identity,
                "name": match.name,
                "similarity": round(match.similarity, 6),
                "source": match.source,
                "face_id": match.face_id,
                "margin": None if match.margin is None else round(match.margin, 6),
                "probability": None if match.probability is None else round(match.probability, 6),
                "faces": [
                    {"face_id": one.face_id, "similarity": round(one.similarity, 6), "source": one.source}
                    for one in match.faces
                ],
            }
            for match in matches
        ],
    }


def _mark(face: FoundFace, matches: Sequence[Match], threshold: float) -> Mark:
    best = _meant(matches, threshold)
    if best is None:
        return Mark(box=face.box, text="unknown", known=False)
    return Mark(box=face.box, text=f"{_who(best)}  {best.similarity:.2f}", known=True)
