"""The report of an evaluation as one HTML page: figures, curves and the pictures that were judged wrong."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from vultus.cli.pages import document, picture

_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2rem;max-width:60rem;color:#222;background:#fff}h2{margin-top:2rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem 1.5rem .2rem 0;text-align:left;vertical-align:top}"
    "th{font-weight:normal;color:#555}svg{max-width:100%;height:auto}"
    ".pairs{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0;width:228px}figcaption{font-size:12px;overflow-wrap:anywhere}"
    "img,.none{display:inline-block;width:112px;height:112px;vertical-align:top}"
    ".none{line-height:112px;text-align:center;background:#eee;color:#666}"
)


class Wrong(Struct, frozen=True, kw_only=True, eq=False):
    """Two pictures that were taken for one person, or for two, and should not have been."""

    first: npt.NDArray[np.uint8] | None
    """`(112, 112, 3)` uint8 BGR; none where no face was found."""
    second: npt.NDArray[np.uint8] | None
    caption: str


def page(
    title: str,
    facts: Sequence[tuple[str, str]],
    charts: Sequence[tuple[str, str]],
    pictures: Sequence[tuple[str, Sequence[Wrong]]] = (),
    note: str = "",
) -> str:
    """The page: `facts` as a table, `charts` as headings and SVG, `pictures` as headings and pairs."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    parts = [f"<h1>{escape(title)}</h1><table>{rows}</table>"]
    parts += [f"<p>{escape(note)}</p>"] if note else []
    parts += [f"<h2>{escape(heading)}</h2>{svg}" for heading, svg in charts]
    for heading, pairs in pictures:
        figures = "".join(
            f"<figure>{_picture(one.first)}&#8202;{_picture(one.second)}<figcaption>{escape(one.caption)}</figcaption></figure>"
            for one in pairs
        )
        parts.append(f'<h2>{escape(heading)}</h2><div class="pairs">{figures or "None."}</div>')
    return document(title, _STYLE, "".join(parts))


def _picture(chip: npt.NDArray[np.uint8] | None) -> str:
    if chip is None:
        return '<span class="none">no face</span>'
    _, jpeg = cv2.imencode(".jpg", chip, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return picture(jpeg.tobytes())
