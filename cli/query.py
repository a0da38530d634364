"""`vultus query`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from vultus.cli.console import print_json, say, shown, table
from vultus.cli.options import config_option, configured, gallery_option, json_option
from vultus.cli.persons import person_meant
from vultus.cli.picture import Mark, picture_file, save_marked
from vultus.configs.address import Place
from vultus.index import Gallery, Match, Where
from vultus.index.configured import open_gallery
from vultus.pipeline.errors import RefusedInput
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.stages.gallery import threshold as threshold_of

DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.argument("image", type=click.Path(path_type=Path, dir_okay=False))
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
@click.option(
    "--out",
    "out_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=picture_file,
    metavar="FILE",
    help="Write the picture with boxes and names; hidden people are made unrecognisable.",
)
@json_option
def query(
    image: Path,
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
    out_file: Path | None,
    as_json: bool,
) -> None:
    """For every face of IMAGE, the most similar people of the gallery, best first.

    People are grouped: a person with many faces is one row, with the face that is nearest. Unknown people (`vultus
    unknowns`) have a number in place of a name; faces that belong to nobody stand for themselves. Similarity is the cosine
    of the two embeddings; at or above the threshold (the configured one, that of `vultus calibrate`, or the model's) two
    faces count as one person, below it the row is only the nearest there is.
    """
    config, _ = configured(config_file, gallery_dir)
    with FaceFinder(config) as finder:
        try:
            picture = finder.read(image)
        except RefusedInput as error:
            raise click.ClickException(f"{image}: {error}") from error
        faces = finder.find(picture)
        with open_gallery(config, finder.model.fingerprint) as gallery:
            chosen = tuple(person_meant(gallery, name).id for name in people) or None
            where = Where(
                people=chosen,
                collection=collection,
                source=source,
                after=None if after is None else after.replace(tzinfo=UTC).timestamp(),
                before=None if before is None else before.replace(tzinfo=UTC).timestamp(),
                quality=min_quality,
            )
            found = gallery.search([face.vector for face in faces], k, where=where, faces=speakers) if faces else []
            threshold = threshold_of(config, finder.model, gallery)
            if config.match.threshold is None and (stale := gallery.calibration.stale()) is not None:
                say(f"{stale}; `vultus calibrate` sets it anew", style="yellow")
            veiled = _hidden(gallery, faces, threshold) if faces and out_file is not None else [False] * len(faces)
        model = finder.model.name
    if out_file is not None:
        marks = [
            Mark(box=face.box, text="", known=False, veiled=True) if veil else _mark(face, matches, threshold)
            for face, matches, veil in zip(faces, found, veiled, strict=True)
        ]
        save_marked(picture, marks, out_file)
        say(f"wrote {out_file}")
    if as_json:
        print_json(
            {
                "image": shown(str(image)),
                "model": model,
                "faces": [_face_json(face, matches) for face, matches in zip(faces, found, strict=True)],
            }
        )
        return
    if not faces:
        say(f"{image}: no face found")
    for number, (face, matches) in enumerate(zip(faces, found, strict=True), start=1):
        _print_face(number, face, matches, threshold)


def _hidden(gallery: Gallery, faces: Sequence[FoundFace], threshold: float) -> list[bool]:
    """Which faces are of somebody hidden, rather than of anybody who is not."""
    found = gallery.search([face.vector for face in faces], 1, threshold, Where(hidden=None))
    return [bool(matches) and matches[0].hidden for matches in found]


def _meant(matches: Sequence[Match], threshold: float) -> Match | None:
    """The match that says who it is: the best with a name, since a face that nobody has named may be of that person."""
    near = [match for match in matches if match.similarity >= threshold]
    return next((match for match in near if match.name is not None), near[0] if near else None)


def _who(match: Match) -> str:
    return match.name or ("(no name)" if match.identity is None else f"unknown {match.identity}")


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
