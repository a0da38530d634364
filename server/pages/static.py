"""Styles, scripts and icons: read once, served from memory under an address that changes with their content."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from vultus.server.access import PUBLIC
from vultus.server.pages.texts import languages

FOLDER = Path(__file__).parents[1] / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])


@cache
def files() -> dict[str, bytes]:
    """Every file by name, and each language as a module; nothing else can be asked for, so no path is ever opened."""
    found = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}
    for code, texts in languages().items():
        sentences = json.dumps(texts.entries, ensure_ascii=False)
        found[f"texts.{code}.js"] = f'import {{ say }} from "./texts.js";\n\nsay({sentences});\n'.encode()
    return found


@cache
def version() -> str:
    """Of all files together: modules import each other by relative names, so they share one address."""
    digest = hashlib.sha256()
    for name, content in files().items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def address(name: str) -> str:
    """Where a file is found."""
    assert name in files(), name
    return f"/static/{version()}/{name}"


@router.get("/static/{given}/{name}")
async def static(request: Request, given: str, name: str) -> Response:
    """A file; for ever the same under the present version, else to be asked about again."""
    content = files().get(name)
    if content is None:
        raise HTTPException(404)
    lasting = "public, max-age=31536000, immutable" if given == version() else "no-cache"
    tag = f'"{version()}"'
    headers = {"Cache-Control": lasting, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[Path(name).suffix], headers=headers)
