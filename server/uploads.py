"""Photos that come with a request."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from fastapi import File, UploadFile

Pixels = npt.NDArray[np.uint8]
Photo = Annotated[UploadFile, File(description="A photo: JPEG, PNG, WebP, TIFF, BMP or GIF.")]
