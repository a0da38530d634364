"""Photos that come with a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, UploadFile

Photo = Annotated[UploadFile, File(description="A photo: JPEG, PNG, WebP, TIFF, BMP or GIF.")]
