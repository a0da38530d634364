"""Pictures for people: boxes and names drawn on a photograph, and sheets of faces."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
import numpy as np
from msgspec import Struct
from PIL import Image, ImageDraw, ImageFont

from vultus.stages.align import SIDE
from vultus.stages.chip import opened
from vultus.stages.veil import cover

# Pillow's own font knows little beyond ASCII, so a font of the system is preferred where there is one.
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")

KNOWN = (32, 160, 72)
UNKNOWN = (208, 120, 24)
DOT = (255, 64, 64)


class Mark(Struct, frozen=True, kw_only=True):
    """One face to draw: its box `(x, y, w, h)` in pixels, a line of text, and whether it is a known person."""

    box: tuple[float, float, float, float]
    text: str
    known: bool
    points: tuple[tuple[float, float], ...] = ()
    """Landmarks, drawn as dots."""
    veiled: bool = False
    """Show coarse squares in place of the face, and neither box nor text."""


def picture_file(_ctx: click.Context, _parameter: click.Parameter | None, file: Path | None) -> Path | None:
    """A file that a picture can be written to, which is said before any work is done."""
    if file is None:
        return None
    if Image.registered_extensions().get(file.suffix.lower()) not in Image.SAVE:
        raise click.BadParameter(f"{file.name!r} does not end like a picture (.jpg, .png, .webp)")
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.absolute().parent}")
    return file


def save_marked(image: np.ndarray, marks: Iterable[Mark], path: Path, *, footer: str = "") -> None:
    """Write `image` (`(h, w, 3)` uint8 BGR) with its marks as the file `path`; the ending names the format.

    `footer` stands below the picture: the credit of a photograph belongs where the photograph is shown.
    """
    picture = _drawn(image, marks)
    if footer:
        picture = _with_footer(picture, footer, max(picture.size) / 640)
    picture.save(path)


def marked(image: np.ndarray, marks: Iterable[Mark]) -> np.ndarray:
    """`image` with its marks, both `(h, w, 3)` uint8 BGR."""
    return np.ascontiguousarray(np.asarray(_drawn(image, marks))[:, :, ::-1])


def _drawn(image: np.ndarray, marks: Iterable[Mark]) -> Image.Image:
    pixels, marks = np.array(image[:, :, ::-1], order="C"), list(marks)
    for mark in marks:
        if mark.veiled:
            cover(pixels, mark.box)
    picture = Image.fromarray(pixels)
    unit = max(picture.size) / 640
    font, shown = _font(max(12.0, 15 * unit))
    draw = ImageDraw.Draw(picture)
    for mark in marks:
        if mark.veiled:
            continue
        x, y, w, h = mark.box
        colour = KNOWN if mark.known else UNKNOWN
        draw.rectangle((x, y, x + w, y + h), outline=colour, width=max(2, round(2 * unit)))
        dot = max(1.5, w / 40)
        for px, py in mark.points:
            draw.ellipse((px - dot, py - dot, px + dot, py + dot), fill=DOT)
        text = shown(mark.text)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        pad = 3 * unit
        wide, high = right - left + 2 * pad, bottom - top + 2 * pad
        at_x = min(max(0.0, x), max(0.0, picture.width - wide))
        at_y = y - high if y >= high else min(y + h, picture.height - high)
        draw.rectangle((at_x, at_y, at_x + wide, at_y + high), fill=colour)
        draw.text((at_x + pad - left, at_y + pad - top), text, font=font, fill=(255, 255, 255))
    return picture


_TILE, _EDGE, _COLUMNS = SIDE, 8, 8
_MOST_TILES = 400
_BLANK = (224, 224, 224)


class Tile(Struct, frozen=True, kw_only=True):
    """One face of a sheet: its JPEG, if there is one, and up to two lines below it."""

    jpeg: bytes | None
    lines: tuple[str, ...]


def save_sheet(tiles: Sequence[Tile], path: Path) -> int:
    """Write up to 400 faces with their lines as one picture, eight in a row; return how many were left out."""
    shown_tiles = tiles[:_MOST_TILES]
    font, shown = _font(13.0)
    columns = max(1, min(_COLUMNS, len(shown_tiles)))
    wide, high = _TILE + 2 * _EDGE, _TILE + 2 * _EDGE + 34
    page = Image.new("RGB", (columns * wide, max(1, -(-len(shown_tiles) // columns)) * high), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    for number, tile in enumerate(shown_tiles):
        x, y = number % columns * wide + _EDGE, number // columns * high + _EDGE
        face = opened(tile.jpeg)
        if face is None:
            pen.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), fill=_BLANK)
        else:
            page.paste(face, (x, y))
        for row, text in enumerate(tile.lines[:2]):
            pen.text((x, y + _TILE + 2 + 16 * row), shown(text)[:20], font=font, fill=(32, 32, 32))
    page.save(path)
    return len(tiles) - len(shown_tiles)


def _font(size: float) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, Callable[[str], str]]:
    """A font, and what makes a text one that it can show."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size), str
        except OSError:
            continue  # not installed here
    return ImageFont.load_default(size), _plain


def _plain(text: str) -> str:
    """Letters without their accents, for a font that lacks them."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _with_footer(picture: Image.Image, footer: str, unit: float) -> Image.Image:
    font, shown = _font(max(10.0, 11 * unit))
    draw = ImageDraw.Draw(picture)
    lines = [""]
    for word in shown(footer).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font=font) > picture.width - 12 * unit:
            lines.append(word)
        else:
            lines[-1] = longer
    step = max(14.0, 15 * unit)
    page = Image.new("RGB", (picture.width, picture.height + round(step * len(lines) + 8 * unit)), (255, 255, 255))
    page.paste(picture, (0, 0))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((6 * unit, picture.height + 3 * unit + number * step), line, font=font, fill=(64, 64, 64))
    return page
