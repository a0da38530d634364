"""Sightings with their clearest pictures, as a page that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from msgspec import Struct

from vultus.cli.console import clock, shown
from vultus.cli.pages import document, picture
from vultus.index import Shot, Sighting

_STYLE = (
    "body{font:15px sans-serif;margin:2em auto;max-width:70em;color:#222}"
    "section{display:flex;gap:1em;align-items:center;border-top:1px solid #ddd;padding:.7em 0}"
    "div{display:flex;flex-wrap:wrap;gap:4px;flex:0 0 352px}img{width:112px;height:112px;border-radius:4px}"
    "p{margin:.2em 0}.who{font-weight:bold}.nobody{color:#b5651d}.less{color:#666}"
)


class Entry(Struct, frozen=True):
    """A sighting and its pictures, of which those that are to be veiled are veiled already."""

    sighting: Sighting
    shots: Sequence[Shot]


def page(entries: Sequence[Entry]) -> str:
    """HTML, newest first."""
    many = f"{len(entries)} sighting{'' if len(entries) == 1 else 's'}"
    return document(many, _STYLE, f"<h1>{many}</h1>{''.join(_section(entry) for entry in reversed(entries))}")


def who(one: Sighting) -> str:
    """The name, or which unknown person it is."""
    return one.name or ("unknown" if one.identity is None else f"unknown {one.identity}")


def _section(entry: Entry) -> str:
    one = entry.sighting
    pictures = "".join(picture(shot.jpeg, _title(shot)) for shot in entry.shots)
    near = "" if one.similarity is None else f", similarity {one.similarity:.2f}"
    at = "" if one.position is None else f" at {clock(one.position)}"
    return (
        f'<section id="s{one.id}"><div>{pictures or "no picture kept"}</div><span>'
        f'<p class="who{"" if one.name else " nobody"}">{escape(shown(who(one)))}</p>'
        f"<p>{_when(one.time)}, {escape(shown(one.source))}{at}</p>"
        f'<p class="less">sighting {one.id}{near}</p></span></section>'
    )


def _title(shot: Shot) -> str:
    quality = "" if shot.quality is None else f", quality {shot.quality:.2f}"
    return f"{_when(shot.time)}{quality}"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
