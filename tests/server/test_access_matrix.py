"""Every route of the server, and who may call it: a route that is not in the table, or asks for something else, fails."""

import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.routing import APIWebSocketRoute
from signing import add_users, cheap_hashes, key_client, signed_in

from vultus.server.access import Needs, demands
from vultus.server.app import _BESIDE, _ROUTES
from vultus.server.problems import Problem
from vultus.server.roles import AREAS, ROLES, Principal
from vultus.server.services import Services

API = "/api/v1"
PUBLIC = ("public", None)
# Below which path: the area, the role for looking, the role for changing. The longest that fits.
TABLE = {
    f"{API}/session": (None, "viewer", "viewer"),
    f"{API}/users": ("accounts", "admin", "admin"),
    f"{API}/keys": ("accounts", "admin", "admin"),
    f"{API}/security": ("accounts", "admin", "admin"),
    f"{API}/detect": ("search", "viewer", "viewer"),
    f"{API}/quality": ("search", "viewer", "viewer"),
    f"{API}/compare": ("search", "viewer", "viewer"),
    f"{API}/search": ("search", "viewer", "viewer"),
    f"{API}/people": ("people", "viewer", "operator"),
    f"{API}/faces": ("people", "viewer", "operator"),
    f"{API}/unknowns": ("people", "viewer", "operator"),
    f"{API}/acts": ("people", "viewer", "operator"),
    f"{API}/denials": ("people", "viewer", "operator"),
    f"{API}/confusable": ("people", "viewer", "operator"),
    f"{API}/gallery": ("people", "viewer", "operator"),
    f"{API}/collections": ("people", "viewer", "operator"),
    f"{API}/sightings": ("events", "viewer", "operator"),  # changing one changes people too, see below
    f"{API}/events": ("events", "viewer", "operator"),
    f"{API}/rules": ("events", "viewer", "operator"),
    f"{API}/webhooks": ("events", "admin", "admin"),
    f"{API}/mqtt": ("events", "admin", "admin"),
    f"{API}/cameras": ("cameras", "viewer", "operator"),
    f"{API}/live": ("cameras", "viewer", "operator"),
    f"{API}/archives": ("jobs", "operator", "operator"),
    f"{API}/uploads": ("jobs", "operator", "operator"),
    f"{API}/jobs": ("jobs", "operator", "operator"),
    f"{API}/backups": ("system", "admin", "admin"),
    f"{API}/models": ("system", "viewer", "admin"),
    f"{API}/system": ("system", "viewer", "admin"),
    f"{API}/calibration": ("system", "viewer", "admin"),
    f"{API}/audit": ("system", "admin", "admin"),
    f"{API}/settings": ("system", "admin", "admin"),
}
# What is otherwise than its neighbours: the areas, all of which are needed, and the role.
ODD = {
    ("GET", f"{API}/openapi.json"): PUBLIC,
    ("POST", f"{API}/session"): PUBLIC,
    ("GET", f"{API}/faces/{{face_id}}/matches"): ({"search"}, "viewer"),
    ("GET", f"{API}/people/{{identity}}/export"): ({"people"}, "operator"),
    ("POST", f"{API}/sightings/{{number}}/enrol"): ({"events", "people"}, "operator"),
    ("POST", f"{API}/sightings/{{number}}/deny"): ({"events", "people"}, "operator"),
    ("POST", f"{API}/cameras"): ({"cameras"}, "admin"),
    ("POST", f"{API}/cameras/test"): ({"cameras"}, "admin"),
    ("DELETE", f"{API}/cameras/{{number}}"): ({"cameras"}, "admin"),
    ("POST", f"{API}/rules/try"): ({"events"}, "viewer"),
    ("POST", f"{API}/jobs/backup"): ({"jobs", "system"}, "admin"),
    ("POST", f"{API}/jobs/verify"): ({"jobs", "system"}, "admin"),
    ("POST", f"{API}/jobs/compact"): ({"jobs", "system"}, "admin"),
}
PUBLIC_BESIDE = {"/livez", "/readyz", "/static/{given}/{name}", "/sign-in"}


class Call(NamedTuple):
    """A method of a route, and what it needs."""

    method: str
    path: str
    needs: Any


def calls() -> list[Call]:
    found = []
    routers = [(API, module.router) for module in _ROUTES] + [("", router) for router in _BESIDE]
    for prefix, router in routers:
        for route, needs in demands(router):
            methods = ["WEBSOCKET"] if isinstance(route, APIWebSocketRoute) else sorted(route.methods)
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", prefix + route.path)
            found += [Call(method, path, needs) for method in methods]
    return found


def expected(call: Call) -> Any:
    if (odd := ODD.get((call.method, call.path))) is not None:
        return odd
    fitting = [prefix for prefix in TABLE if call.path == prefix or call.path.startswith(prefix + "/")]
    assert fitting, f"{call.method} {call.path} is not in the table of this test"
    area, looking, changing = TABLE[max(fitting, key=len)]
    return {area} - {None}, looking if call.method in ("GET", "WEBSOCKET") else changing


def stated(call: Call) -> Any:
    needs = [need for need in call.needs if isinstance(need, Needs)]
    if not needs:
        return PUBLIC
    return {need.area for need in needs} - {None}, max((need.role for need in needs), key=ROLES.index)


def test_every_route_asks_for_what_the_table_says() -> None:
    api = [call for call in calls() if call.path.startswith(API)]
    wrong = [
        f"{call.method} {call.path}: {stated(call)}, not {expected(call)}"
        for call in api
        if stated(call) != expected(call)
    ]
    assert len(api) > 100
    assert not wrong, "\n".join(wrong)


def test_beside_the_api_only_a_few_are_public() -> None:
    beside = [call for call in calls() if not call.path.startswith(API)]
    assert {call.path for call in beside if stated(call) == PUBLIC} == PUBLIC_BESIDE
    assert all(call.method == "GET" for call in beside)


def test_the_description_has_every_route_and_how_to_sign_in(client: httpx.Client) -> None:
    described = client.get(f"{API}/openapi.json").json()
    schemes = described["components"]["securitySchemes"]
    assert schemes["key"]["scheme"] == "bearer"
    assert schemes["session"]["in"] == "cookie"
    for call in calls():
        if call.path.startswith(API) and call.method != "WEBSOCKET" and call.path != f"{API}/openapi.json":
            operation = described["paths"][call.path][call.method.lower()]
            public = stated(call) == PUBLIC
            assert operation.get("security", []) == ([] if public else [{"key": []}, {"session": []}]), call
            assert {"401", "403", "429"} <= set(operation["responses"])


@pytest.fixture(scope="module", autouse=True)
def users(services: Services) -> Iterator[None]:
    with cheap_hashes():
        add_users(services)
        yield


def asked(client: httpx.Client, call: Call) -> httpx.Response:
    """A request without a body, about things that are not there."""
    path = re.sub(r"\{(\w+)\}", lambda name: "ffffffffffffffff" if name[1] == "key" else str(2**62), call.path)
    if call.method == "WEBSOCKET":
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        return client.get(path, headers=upgrade | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
    return client.request(call.method, path)


@pytest.mark.slow
def test_nobody_is_refused_everywhere(address: str) -> None:
    with httpx.Client(base_url=address, timeout=60) as nobody:
        for call in calls():
            if stated(call) != PUBLIC and call.path.startswith(API):
                answer = asked(nobody, call)
                assert (answer.status_code, answer.json()["type"]) == (401, "urn:vultus:unauthorized"), call
            elif stated(call) != PUBLIC:
                assert asked(nobody, call).status_code in (303, 401), call


@pytest.mark.slow
def test_lower_roles_and_other_areas_are_refused(address: str, services: Services) -> None:
    with ExitStack() as open_now:
        people = {role: open_now.enter_context(signed_in(address, role)) for role in ROLES}
        keys = {
            area: open_now.enter_context(
                key_client(services, address, "admin", [other for other in AREAS if other != area], f"not {area}")
            )
            for area in AREAS
        }
        low = {role: open_now.enter_context(key_client(services, address, role, AREAS, role)) for role in ROLES}
        for call in calls():
            if stated(call) == PUBLIC:
                continue
            areas, role = stated(call)
            refused = [people[lower] for lower in ROLES[: ROLES.index(role)]]
            refused += [low[lower] for lower in ROLES[: ROLES.index(role)]]
            refused += [low["admin"]] if "accounts" in areas else [keys[area] for area in areas]
            for client in refused:
                assert asked(client, call).status_code == 403, call


@pytest.mark.slow
def test_without_the_csrf_token_nothing_changes(address: str) -> None:
    with signed_in(address, "admin") as admin:
        del admin.headers["X-CSRF-Token"]
        for call in calls():
            if call.method not in ("GET", "WEBSOCKET") and stated(call) != PUBLIC:
                answer = asked(admin, call)
                assert (answer.status_code, answer.json()["type"]) == (403, "urn:vultus:csrf"), call


def test_whoever_has_role_and_area_is_let_in() -> None:
    for call in calls():
        if stated(call) == PUBLIC:
            continue
        areas, role = stated(call)
        askers = [Principal(kind="user", id=1, name="a", role=role)]
        if "accounts" not in areas:
            askers.append(Principal(kind="key", id="k", name="a", role=role, areas=frozenset(areas)))
        for asker in askers:
            for need in call.needs:
                asyncio.run(need(SimpleNamespace(state=SimpleNamespace(asker=asker))))


def test_a_key_is_for_no_account() -> None:
    key = Principal(kind="key", id="k", name="a", role="admin")
    with pytest.raises(Problem, match="not for API keys"):
        asyncio.run(Needs("viewer", "accounts")(SimpleNamespace(state=SimpleNamespace(asker=key))))  # type: ignore[arg-type]


def test_what_is_made_says_where_it_is(client: httpx.Client) -> None:
    described = client.get(f"{API}/openapi.json").json()["paths"]
    made = [
        (path, operation)
        for path, them in described.items()
        for operation in them.values()
        if "201" in operation["responses"]
    ]
    assert len(made) > 12
    for path, operation in made:
        assert operation["responses"]["201"]["headers"]["Location"]["required"], path
    here = {re.sub(r"\{\w+\}", "{}", path) for path in described}
    for module in _ROUTES:
        for route, _ in demands(module.router):
            if getattr(route, "status_code", None) == 201:
                source = inspect.getsource(inspect.getmodule(route.endpoint))  # type: ignore[arg-type]
                told = re.findall(r'headers\["Location"\] = f"(.+)"', source)
                assert told, route.path
                assert {re.sub(r"\{[^}]+\}", "{}", one) for one in told} <= here, told
                assert "response" in inspect.signature(route.endpoint).parameters, route.path
