"""The paths that there are, and the methods that each knows."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from vultus.server.access import demands


class Paths:
    """The whole paths of all routes: a route itself may know only the part below its router."""

    def __init__(self, routers: Iterable[tuple[str, APIRouter]]) -> None:
        """Of routers, each with what its paths begin with."""
        known = [
            (route, *compile_path(prefix + route.path)) for prefix, router in routers for route, _ in demands(router)
        ]
        self.shown: dict[object, str] = {route.endpoint: shown for route, _, shown, _ in known}
        """By what answers it, with the names of its parameters: `/api/v1/people/{identity}`."""
        self._methods = [
            (pattern, route.methods or set()) for route, pattern, _, _ in known if isinstance(route, APIRoute)
        ]

    def methods(self, path: str) -> set[str]:
        """The methods that routes of this path have."""
        return {method for pattern, methods in self._methods if pattern.match(path) for method in methods}
