"""Pages that need nothing else: how one begins, how pictures stand in it, how it is written."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from html import escape
from pathlib import Path


def document(title: str, style: str, body: str) -> str:
    """An HTML page; `title` is text, `style` and `body` are what they are in the file."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{style}</style>{body}</html>\n"
    )


def picture(jpeg: bytes, title: str = "") -> str:
    """An `<img>` that holds its picture; `title` is shown where the mouse is."""
    told = f' title="{escape(title)}"' if title else ""
    return f'<img alt=""{told} src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'


def write(path: Path, text: str, opener: Callable[[str, int], int] | None = None) -> None:
    """Put the page at `path` whole or not at all; `opener` as of `open`. OSError says which file it was."""
    data = text.encode()
    if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
        path.write_bytes(data)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb", opener=opener) as file:
            file.write(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
