"""The base of everything that goes over the API, and what the fields of several resources are made of."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar, overload

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

LARGEST = (1 << 53) - 1
"""Numbers up to this are the same in every JSON reader (RFC 8259, section 6); the gallery never comes near."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"


class Schema(BaseModel):
    """Unknown fields are refused; fields with a description are documented by it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Body(Schema):
    """What is sent as JSON: a number is a number, and true is not 1."""

    model_config = ConfigDict(strict=True)


def _written_out(when: object) -> object:
    if isinstance(when, str) and not _TIME.match(when):
        raise ValueError("a time is written as 2026-11-22T17:30:00Z")
    return when


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


Box = Annotated[tuple[float, float, float, float], Field(examples=[(412.0, 160.5, 96.0, 128.0)])]
"""Left, top, width, height in pixels of the upright picture; it may lie partly beyond it."""
Point = tuple[float, float]
Landmarks = tuple[Point, Point, Point, Point, Point]
"""Right eye, left eye, nose, right and left corner of the mouth, in pixels of the upright picture."""
Similarity = Annotated[float, Field(ge=-1.000001, le=1.000001, examples=[0.6132])]
Id = Annotated[int, Field(ge=1, le=LARGEST)]
IdInPath = Annotated[int, Path(ge=1, le=LARGEST)]
Text = Annotated[str, Field(max_length=4096, pattern=f"^{_PRINTABLE}*$")]
"""What something is looked for by."""
Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=rf"^{_PRINTABLE}*\S{_PRINTABLE}*$", examples=["Ada Lovelace"])
]
"""Of a person or a collection: no control characters; spaces at the ends are taken off."""
When = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
"""A time as RFC 3339 has it; one without an offset is UTC."""
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Cursor = Annotated[
    str | None, Query(max_length=4096, description="`next` of the page before; leave it out for the first one.")
]
NumberCursor = Annotated[
    int | None,
    Query(ge=0, lt=10**18, description="`next` of the page before; leave it out for the first one."),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,18}$"}),
]
"""Of lists whose cursor is the number of the last item: a string to programs, as every cursor is."""

Item = TypeVar("Item")


class Listing(Schema, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = None
    """`cursor` of the next page; none: this was the last one."""


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: float | None) -> datetime | None: ...
def moment(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as the API tells times: UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@overload
def seconds(when: datetime) -> float: ...
@overload
def seconds(when: datetime | None) -> float | None: ...
def seconds(when: datetime | None) -> float | None:
    """A time that was asked for, as the gallery counts it: seconds since the epoch."""
    return None if when is None else when.timestamp()
