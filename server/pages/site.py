"""What every page has: templates, the visitor's language, theme and clock, and errors that are pages too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from vultus.index.errors import GalleryError
from vultus.server.pages.static import address
from vultus.server.pages.texts import Texts, chosen, languages
from vultus.server.problems import Problem, problem_of
from vultus.server.roles import Principal, Role

Cursor = Annotated[str | None, Query(max_length=1000)]
"""Where a list goes on, as the page before it said."""


class Entry(Struct, frozen=True):
    """A line of the menu."""

    page: str
    role: Role = "viewer"


MENU = (
    (Entry("live"), Entry("sightings"), Entry("search"), Entry("people"), Entry("unknowns")),
    (
        Entry("archive", "operator"),
        Entry("cameras", "operator"),
        Entry("alerts"),
        Entry("calibration"),
        Entry("system", "operator"),
    ),
)
"""What is used every day, which a phone shows at the bottom, and what is set up once."""


class Visitor(Struct, frozen=True, kw_only=True):
    """How somebody wants to see the pages; from the cookies `lang`, `theme` and `zone`, none of which is a secret."""

    texts: Texts
    theme: str | None
    """`light` or `dark`; none: as the system has it."""
    zone: tzinfo

    def local(self, seconds: float) -> datetime:
        """Seconds since the epoch on the visitor's clock."""
        return datetime.fromtimestamp(seconds, self.zone)


def visitor(request: Request) -> Visitor:
    """Who looks, by what the browser says."""
    theme = request.cookies.get("theme")
    return Visitor(
        texts=chosen(request.cookies.get("lang"), request.headers.get("accept-language", "")),
        theme=theme if theme in ("light", "dark") else None,
        zone=_zone(request.cookies.get("zone", "")),
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("vultus.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(static=address, menu=MENU, languages=languages(), picture=picture, shot=shot, query=query)
    return made


def picture(face: int) -> str:
    """Address of a stored face's picture."""
    return f"/api/v1/faces/{face}/chip"


def shot(sighting: int, number: int) -> str:
    """Address of one of a sighting's pictures."""
    return f"/api/v1/sightings/{sighting}/shots/{number}"


def query(**given: object) -> str:
    """`?name=value&…` of what is not none, false or empty."""
    pairs = {name: value for name, value in given.items() if value not in (None, "", False)}
    return f"?{urlencode(pairs)}" if pairs else ""


def render(request: Request, template: str, status: int = 200, **context: object) -> HTMLResponse:
    """A page of a template, whose name is also that of its line in the menu unless `place` says another."""
    seen = visitor(request)
    asker: Principal | None = getattr(request.state, "asker", None)
    page = _environment().get_template(f"{template}.html")
    body = page.render(
        t=seen.texts,
        visitor=seen,
        here=context.pop("place", template),
        path=request.url.path,
        asker=asker,
        may=lambda role: asker is not None and asker.may(role),
        now=datetime.now(seen.zone),
        **context,
    )
    return HTMLResponse(body, status, headers={"Cache-Control": "no-store"})


class PageRoute(APIRoute):
    """A route for people: an error is a page in words, and who is not signed in is asked to."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with errors shown."""
        answer = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await answer(request)
            except RequestValidationError:
                problem = Problem(404, "not-found", "")
            except (Problem, GalleryError, ValueError) as error:
                problem = problem_of(error)
            if problem.status == 401:
                wanted = f"{request.url.path}?{request.url.query}".removesuffix("?")
                return RedirectResponse(f"/sign-in?next={quote(wanted)}", 303)
            return problem_page(request, problem)

        return shown


def problem_page(request: Request, problem: Problem) -> HTMLResponse:
    """What went wrong, in words, with the way home."""
    page = render(request, "problem", problem.status, problem=problem)
    page.headers.update(problem.headers)
    return page


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if 0 < len(name) <= 64 else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
