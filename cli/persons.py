"""Who is meant on a command line, and how people and their faces are told there."""

from __future__ import annotations

import click

from vultus.cli.console import utc
from vultus.index import Gallery, Identity, StoredFace, UnknownIdentity
from vultus.index.names import clean_name

# More digits make no number that a database could hold.
_DIGITS = 18


def valid_name(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A name as it is stored; what is none is wrong usage."""
    try:
        return None if value is None else clean_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def person_meant(gallery: Gallery, text: str) -> Identity:
    """Who is meant by a name or, if nobody has that name, by a number."""
    try:
        return gallery.identity(clean_name(text))
    except UnknownIdentity:
        if text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
            return gallery.identity(int(text))
        raise


def face_json(face: StoredFace) -> dict[str, object]:
    """A face of a person, as `--json` prints it."""
    return {
        "face_id": face.id,
        "source": face.source,
        "position": face.position,
        "time": None if face.time is None else utc(face.time),
        "box": face.box,
        "quality": face.quality,
    }


def quality_of(face: StoredFace) -> str:
    """A face's quality in a table, empty if nobody knows it."""
    return "" if face.quality is None else f"{face.quality:.2f}"


def called(person: Identity) -> str:
    """Name and number, or that there is no name."""
    return f"unknown {person.id}" if person.name is None else f"{person.name} (id {person.id})"
