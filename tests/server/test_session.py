"""Signing in and out: cookies, CSRF, rotation, wrong passwords, ends."""

import json
from collections.abc import Iterator

import httpx
import pytest
from signing import PASSWORD, add_users, cheap_hashes, signed_in

from vultus.server.services import Services

SESSION = "/api/v1/session"


@pytest.fixture(scope="module", autouse=True)
def users(services: Services) -> Iterator[None]:
    with cheap_hashes():
        add_users(services)
        yield


def test_nobody_is_let_in_without_signing_in(client: httpx.Client) -> None:
    answer = client.get(SESSION)
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:vultus:unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_session_says_who_one_is(address: str) -> None:
    with signed_in(address, "operator") as client:
        me = client.get(SESSION).json()
        assert (me["kind"], me["name"], me["role"]) == ("user", "operator", "operator")
        assert len(me["areas"]) == 6
        assert me["csrf"] == client.headers["X-CSRF-Token"]


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(client: httpx.Client) -> None:
    answer = client.post(SESSION, json={"name": "viewer", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    client.cookies.clear()
    assert cookie.startswith("vultus=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie  # http: `__Host-` and Secure come with https, test_serving.py
    assert "Domain" not in cookie
    assert PASSWORD not in answer.text


def test_the_token_is_not_in_the_table(client: httpx.Client, services: Services) -> None:
    token = client.post(SESSION, json={"name": "viewer", "password": PASSWORD}).cookies["vultus"]
    client.cookies.clear()
    assert len(token) >= 43  # 256 bits
    with services.store.read() as connection:
        dump = "\n".join(connection.iterdump())
    assert token not in dump
    assert PASSWORD not in dump


def test_a_session_that_somebody_planted_is_not_taken_over(address: str, client: httpx.Client) -> None:
    planted = client.post(SESSION, json={"name": "viewer", "password": PASSWORD}).cookies["vultus"]
    again = client.post(SESSION, json={"name": "admin", "password": PASSWORD}).cookies["vultus"]
    client.cookies.clear()
    assert again != planted
    for token, status in ((planted, 401), (again, 200), ("made-up", 401)):
        assert httpx.get(address + SESSION, cookies={"vultus": token}).status_code == status


def test_signing_out_ends_the_session_on_the_server(address: str) -> None:
    with signed_in(address, "viewer") as client:
        token = client.cookies["vultus"]
        answer = client.delete(SESSION)
        assert answer.status_code == 204
        assert 'vultus=""' in answer.headers["set-cookie"]
    assert httpx.get(address + SESSION, cookies={"vultus": token}).status_code == 401


def test_all_sessions_of_a_user_end_at_once(address: str) -> None:
    with (
        signed_in(address, "viewer") as one,
        signed_in(address, "viewer") as other,
        signed_in(address, "admin") as admin,
    ):
        assert one.delete(SESSION, params={"everywhere": True}).status_code == 204
        assert other.get(SESSION).status_code == 401
        assert admin.get(SESSION).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": ""}])
def test_what_changes_something_needs_the_token(address: str, headers: dict[str, str]) -> None:
    with signed_in(address, "viewer") as client:
        del client.headers["X-CSRF-Token"]
        answer = client.delete(SESSION, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:vultus:csrf")
        assert client.get(SESSION).status_code == 200


def test_the_token_of_another_session_is_none(address: str) -> None:
    with signed_in(address, "viewer") as one, signed_in(address, "viewer") as other:
        answer = one.delete(SESSION, headers={"X-CSRF-Token": other.headers["X-CSRF-Token"]})
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_pages_elsewhere_can_do_nothing(address: str, headers: dict[str, str]) -> None:
    with signed_in(address, "admin") as client:
        for method, path in (("POST", SESSION), ("DELETE", SESSION), ("DELETE", "/api/v1/users/1")):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:vultus:cross-site")


def test_own_pages_and_links_to_pages_are_let_in(address: str) -> None:
    host = address.removeprefix("http://")
    with signed_in(address, "viewer") as client:
        same = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{host}"}
        assert client.delete(SESSION, headers=same).status_code == 204
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get("/livez", headers=link).status_code == 200
        assert (
            client.get("/livez", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}).status_code == 403
        )


def test_another_password_ends_all_sessions_and_begins_one(address: str, services: Services) -> None:
    services.accounts.users.add("changing", "viewer", PASSWORD)
    new = "eleven other herons rest"
    with signed_in(address, "changing") as one, signed_in(address, "changing") as other:
        before = one.cookies["vultus"]
        weak = one.put(f"{SESSION}/password", json={"current": PASSWORD, "new": "changing1234"})
        assert (weak.status_code, weak.json()["type"]) == (422, "urn:vultus:weak-password")
        wrong = one.put(f"{SESSION}/password", json={"current": new, "new": new})
        assert (wrong.status_code, wrong.json()["type"]) == (401, "urn:vultus:wrong-login")
        right = one.put(f"{SESSION}/password", json={"current": PASSWORD, "new": new})
        assert right.status_code == 200
        assert one.get(SESSION).status_code == 200
        assert other.get(SESSION).status_code == 401
        assert httpx.get(address + SESSION, cookies={"vultus": before}).status_code == 401
    with signed_in(address, "changing", new):
        pass


@pytest.mark.parametrize("since", ["begun", "seen"])
def test_sessions_end_by_themselves(address: str, services: Services, since: str) -> None:
    with signed_in(address, "viewer") as client:
        with services.store.write() as connection:
            connection.execute(f"UPDATE sessions SET {since} = {since} - 604801")
        assert client.get(SESSION).status_code == 401


def test_what_goes_wrong_looks_the_same(client: httpx.Client) -> None:
    answers = [
        client.post(SESSION, json={"name": name, "password": "not the password of it"}).json()
        for name in ("admin", "nobody")
    ]
    assert answers[0] == answers[1]
    assert answers[0]["type"] == "urn:vultus:wrong-login"


def test_a_password_never_comes_back_in_a_problem(client: httpx.Client) -> None:
    for body in ({"name": 5, "password": PASSWORD}, {"name": "a", "password": PASSWORD, "more": 1}, [PASSWORD]):
        answer = client.post(SESSION, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert PASSWORD not in answer.text


def test_guessing_has_to_wait(client: httpx.Client, address: str, services: Services) -> None:
    services.accounts.users.add("guessed", "viewer", PASSWORD)
    wrong = {"name": "guessed", "password": "not the password of it"}
    statuses = [client.post(SESSION, json=wrong).status_code for _ in range(8)]
    assert statuses[:5] == [401] * 5
    assert statuses[5:] == [429] * 3
    answer = client.post(SESSION, json={"name": "GUESSED", "password": PASSWORD})
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:vultus:too-many-logins")
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    with signed_in(address, "admin"):  # others are not kept waiting
        pass


def test_logins_are_recorded(address: str, client: httpx.Client) -> None:
    client.post(SESSION, json={"name": "mallory\nadmin", "password": "not the password of it"})
    with signed_in(address, "admin") as admin:
        newest, failed = admin.get("/api/v1/security", params={"limit": 2}).json()["items"]
    assert (newest["what"], newest["actor"], newest["address"]) == ("login", "admin", "127.0.0.1")
    assert (failed["what"], failed["actor"]) == ("login-failed", "?")
