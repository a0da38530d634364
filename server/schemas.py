"""The base of everything that goes over the API, and the shapes that several resources share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    """Unknown fields are refused; fields with a description are documented by it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Box = tuple[float, float, float, float]
Point = tuple[float, float]
Similarity = Annotated[float, Field(ge=-1.000001, le=1.000001)]


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as the API tells times: UTC."""
    return datetime.fromtimestamp(seconds, UTC)
