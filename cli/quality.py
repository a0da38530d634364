"""`vultus quality`: how well the faces of photographs can be recognised."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import click
from msgspec import Struct

from vultus.cli.console import counted, line, print_json, progress, say, shown, table
from vultus.cli.options import config_option, configured, json_option
from vultus.cli.pages import document, picture, write
from vultus.cli.photographs import photographs
from vultus.stages.chip import chip_jpeg
from vultus.stages.finder import FaceFinder, FoundFace
from vultus.stages.quality import WORDS, Grade, grade_found
from vultus.stages.sources import Unusable

_TERMS: tuple[str, ...] = ("size", "sharpness", "pose", "exposure", "score")
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
ol { display: flex; flex-wrap: wrap; gap: 1.5rem; list-style: none; padding: 0; }
li { width: 17rem; display: flex; flex-wrap: wrap; gap: .3rem .7rem; } p { margin: 0; } li p { flex: 1; min-width: 0; }
img { width: 112px; height: 112px; border-radius: 4px; }
b { font-size: 1.4rem; } small { color: #555; overflow-wrap: anywhere; }
table { width: 100%; font-size: 12px; line-height: 1; }
th { width: 4.5rem; text-align: left; font-weight: normal; color: #555; }
td:last-child { width: 2rem; text-align: right; } i { display: block; height: 6px; background: #4269d0; }
"""


class Graded(Struct, frozen=True, kw_only=True):
    """A face of a photograph and what is known of its quality."""

    path: Path
    face: FoundFace
    terms: Grade

    @property
    def lacks(self) -> str:
        """What keeps it from being better, in words, if anything does."""
        return "" if self.terms.lacks is None else WORDS[self.terms.lacks]


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="IMAGE...")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with the faces' pictures.",
)
@config_option
@json_option
@click.pass_context
def quality(
    ctx: click.Context, images: tuple[Path, ...], page: Path | None, config_file: Path | None, as_json: bool
) -> None:
    """Rank the faces of each IMAGE (or folder) by how well they can be recognised, best first.

    With a model whose embeddings say it themselves (MagFace), quality is that: the length of the embedding. With others
    it is told from the face's size, sharpness, pose and exposure and the detector's score, and called a stand-in.
    `vultus people enrol` refuses faces below `store.enrol_quality`.
    """
    config, _ = configured(config_file, None)
    found: list[Graded] = []
    refused: list[tuple[Path, str]] = []
    paths = list(photographs(images))
    with FaceFinder(config) as finder, progress(visible=not as_json) as bar:
        for path in bar.track(paths, description="faces"):
            if isinstance(path, Unusable):
                refused.append((Path(path.source), path.reason))
                continue
            try:
                pixels = finder.read(path)
            except (ValueError, OSError) as error:
                refused.append((path, str(error)))
                continue
            found += [Graded(path=path, face=face, terms=grade_found(pixels, face)) for face in finder.find(pixels)]
        model, own = finder.model.name, finder.model.magnitude is not None
    found.sort(key=lambda one: -one.face.quality)
    source = (
        f"length of the embeddings of {model}" if own else "a stand-in, from size, sharpness, pose, exposure and score"
    )
    for path, reason in refused:
        say(f"refused: {path}: {reason}", style="yellow")
    if page is not None:
        write(page, _page(found, f"Quality is {source}."))
    if as_json:
        print_json({"source": "magnitude" if own else "stand-in", "faces": [_json(one) for one in found]})
    else:
        _tell(found, source, page)
    if refused:
        ctx.exit(1 if len(refused) < len(paths) else 2)


def _tell(found: Sequence[Graded], source: str, page: Path | None) -> None:
    if found:
        line(f"Quality is {source}.")
        columns = (">quality", *((">magnitude",) if found[0].face.magnitude is not None else ()), "photo", ">x,y w×h")
        table(
            "",
            (*columns, *(f">{term}" for term in _TERMS), "what it lacks most"),
            (
                (
                    f"{one.face.quality:.2f}",
                    *(() if one.face.magnitude is None else (f"{one.face.magnitude:.1f}",)),
                    one.path,
                    _place(one.face),
                    *(f"{getattr(one.terms, term):.2f}" for term in _TERMS),
                    one.lacks,
                )
                for one in found
            ),
        )
    else:
        say("no face found")
    if page is not None:
        say(f"written: {page}")


def _json(one: Graded) -> dict[str, object]:
    return {
        "image": shown(str(one.path)),
        "box": [round(value, 1) for value in one.face.box],
        "quality": round(one.face.quality, 4),
        "magnitude": one.face.magnitude,
        **{term: round(getattr(one.terms, term), 4) for term in _TERMS},
        "lacks": one.terms.lacks,
    }


def _page(found: Sequence[Graded], source: str) -> str:
    faces = []
    for one in found:
        magnitude = "" if one.face.magnitude is None else f"magnitude {one.face.magnitude:.1f}<br>"
        terms = {term: getattr(one.terms, term) for term in _TERMS}
        rows = "".join(
            f'<tr><th>{term}<td><i style="width:{value:.0%}"></i><td>{value:.2f}' for term, value in terms.items()
        )
        faces.append(
            f"<li>{picture(chip_jpeg(one.face.chip))}<p><b>{one.face.quality:.2f}</b><br>{magnitude}"
            f"{escape(one.lacks) or 'good'}<br>"
            f'<small title="{escape(shown(str(one.path)))}">{escape(shown(one.path.name))}<br>'
            f"{_place(one.face)}</small></p><table>{rows}</table></li>"
        )
    heading = f"<h1>Quality of {counted(len(found), 'face')}, best first</h1><p>{escape(source)}</p>"
    return document("Quality of faces", _STYLE, f"{heading}<ol>{''.join(faces)}</ol>")


def _place(face: FoundFace) -> str:
    return "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box)
