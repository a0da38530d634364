"""Before there are users, the first one, keys, names of hosts, proxies, and how long a wrong login takes."""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from served import serving
from signing import PASSWORD, cheap_hashes, key_client, signed_in

from vultus.server import passwords
from vultus.server.services import Services

SESSION, USERS, KEYS = "/api/v1/session", "/api/v1/users", "/api/v1/keys"


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    with cheap_hashes():
        yield


@pytest.fixture
def nobody_yet(services: Services) -> Iterator[None]:
    """No users, before and after."""
    yield
    with services.store.write() as connection:
        connection.execute("DELETE FROM users")
        connection.execute("DELETE FROM keys")


@pytest.fixture
def admin(services: Services, address: str, nobody_yet: None) -> Iterator[httpx.Client]:
    services.accounts.users.add("ada", "admin", PASSWORD)
    with signed_in(address, "ada") as client:
        yield client


def test_before_there_are_users_everybody_here_is_admin(client: httpx.Client) -> None:
    me = client.get(SESSION).json()
    assert (me["kind"], me["name"], me["role"], me["csrf"]) == ("local", "local", "admin", None)
    assert client.delete(SESSION).json()["type"] == "urn:vultus:no-session"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via"])
def test_what_a_proxy_hands_on_is_not_here(client: httpx.Client, name: str) -> None:
    assert client.get(SESSION, headers={name: "203.0.113.7"}).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}]
)
def test_pages_elsewhere_do_nothing_even_before_there_are_users(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post(USERS, json={"name": "eve", "role": "admin", "password": PASSWORD}, headers=headers)
    assert answer.json()["type"] == "urn:vultus:cross-site"
    assert client.get(USERS).json()["items"] == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8470", 200),
        ("127.0.0.1", 200),
        ("[::1]:8470", 200),
        ("LOCALHOST.", 200),
        ("evil.example", 421),
        ("evil.example:8470", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.0.2.1", 421),
        ("", 421),
    ],
)
def test_other_names_than_ours_are_refused(client: httpx.Client, host: str, status: int) -> None:
    answer = client.get(SESSION, headers={"Host": host})
    assert answer.status_code == status
    assert "content-security-policy" in answer.headers


def test_the_first_user_is_an_admin_and_closes_the_door(client: httpx.Client, address: str, nobody_yet: None) -> None:
    first = {"name": "ada", "role": "viewer", "password": PASSWORD}
    assert client.post(USERS, json=first).json()["type"] == "urn:vultus:last-admin"
    assert client.get(SESSION).status_code == 200
    assert client.post(USERS, json=first | {"role": "admin"}).status_code == 201
    assert client.get(SESSION).status_code == 401
    assert client.get(USERS).status_code == 401
    with signed_in(address, "ada") as ada:
        assert ada.post(USERS, json={"name": "ADA", "role": "viewer", "password": PASSWORD}).status_code == 409


def test_users_are_changed_and_their_sessions_end(admin: httpx.Client, address: str) -> None:
    new = {"name": "grace", "role": "viewer", "password": PASSWORD}
    grace = admin.post(USERS, json=new).json()
    assert PASSWORD not in str(grace)
    assert "scrypt" not in str(grace)
    at = f"{USERS}/{grace['id']}"
    for change in ({"role": "operator"}, {"password": "nine louder herons fly"}):
        with signed_in(address, "grace", PASSWORD) as client:
            assert admin.patch(at, json=change).status_code == 200
            assert client.get(SESSION).status_code == 401
    with signed_in(address, "grace", "nine louder herons fly") as client:
        assert client.get(SESSION).json()["role"] == "operator"
        assert admin.get(USERS).json()["items"][1]["sessions"] == 1
        assert admin.delete(f"{at}/sessions").status_code == 204
        assert client.get(SESSION).status_code == 401
    assert admin.delete(at).status_code == 204
    assert admin.delete(at).status_code == 404
    with pytest.raises(AssertionError, match="wrong-login"), signed_in(address, "grace", "nine louder herons fly"):
        pass
    done = [entry["what"] for entry in admin.get("/api/v1/security", params={"limit": 100}).json()["items"]]
    assert {"user-added", "role-changed", "password-changed", "sessions-ended", "user-removed"} <= set(done)


def test_the_last_admin_stays(admin: httpx.Client) -> None:
    (ada,) = admin.get(USERS).json()["items"]
    for answer in (admin.delete(f"{USERS}/{ada['id']}"), admin.patch(f"{USERS}/{ada['id']}", json={"role": "viewer"})):
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:vultus:last-admin")
    assert admin.get(SESSION).json()["role"] == "admin"


def test_a_key_is_shown_once_and_works_until_it_ends(admin: httpx.Client, address: str, services: Services) -> None:
    made = admin.post(KEYS, json={"name": "grafana", "role": "viewer", "areas": ["system"]}).json()
    text = made.pop("key")
    assert text.startswith(f"vk_{made['id']}_")
    (listed,) = admin.get(KEYS).json()["items"]
    assert listed["created_by"] == "ada"
    assert listed["last_used"] is None
    assert text.split("_", 2)[2] not in admin.get(KEYS).text
    with services.store.read() as connection:
        assert text.split("_", 2)[2] not in "\n".join(connection.iterdump())
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {text}"}) as program:
        me = program.get(SESSION).json()
        assert (me["kind"], me["name"], me["areas"]) == ("key", "grafana", ["system"])
        assert program.get("/api/v1/people").status_code == 403
        # No CSRF token, and pages elsewhere could not send the header without being asked for it.
        assert program.delete(SESSION).json()["type"] == "urn:vultus:no-session"
        (listed,) = admin.get(KEYS).json()["items"]
        assert listed["last_address"] == "127.0.0.1"
        assert admin.delete(f"{KEYS}/{made['id']}").status_code == 204
        assert program.get(SESSION).json()["type"] == "urn:vultus:wrong-key"


def test_a_key_expires(admin: httpx.Client, address: str, services: Services) -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    new = {"name": "late", "role": "viewer", "areas": ["search"], "expires": past}
    assert admin.post(KEYS, json=new).status_code == 422
    with key_client(services, address, "viewer") as program:
        assert program.get(SESSION).status_code == 200
        with services.store.write() as connection:
            connection.execute("UPDATE keys SET expires = ?", (time.time() - 1,))
        assert program.get(SESSION).status_code == 401


@pytest.mark.parametrize(
    "given", ["Bearer nothing", "Basic YTpi", "Bearer vk_0123456789abcdef_" + "A" * 43, "Bearer", ""]
)
def test_what_is_no_key_is_refused_even_where_nobody_has_to_sign_in(client: httpx.Client, given: str) -> None:
    answer = client.get(SESSION, headers={"Authorization": given})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:vultus:wrong-key")


def test_a_key_that_was_right_is_not_hashed_again(
    address: str, services: Services, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with key_client(services, address, "viewer") as program:
        assert program.get(SESSION).status_code == 200
        monkeypatch.setattr(passwords, "matches", lambda *_: pytest.fail("hashed again"))
        assert program.get(SESSION).status_code == 200
        wrong = program.headers["Authorization"][:-3] + "AAA"
    monkeypatch.undo()
    assert httpx.get(address + SESSION, headers={"Authorization": wrong}).status_code == 401


def test_no_secret_is_in_the_log(admin: httpx.Client, services: Services, address: str, caplog: Any) -> None:
    caplog.set_level(0)
    with key_client(services, address, "viewer") as program:
        program.get("/api/v1/people")
        secrets = [
            PASSWORD,
            program.headers["Authorization"][-43:],
            admin.cookies["vultus"],
            admin.headers["X-CSRF-Token"],
        ]
    admin.put(f"{SESSION}/password", json={"current": PASSWORD, "new": PASSWORD + " again"})
    assert not [secret for secret in secrets if secret in caplog.text]


def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    services: Services, nobody_yet: None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(passwords, "PASSWORDS", passwords.Cost(1 << 11, 8, 3))  # some milliseconds
    users = services.accounts.users
    monkeypatch.setattr(users, "_nobody", None)
    users.add("ada", "admin", PASSWORD)
    users.check("nobody", "x")

    def taken(name: str) -> float:
        began = time.thread_time()
        assert users.check(name, "not the password") is None
        return time.thread_time() - began

    pairs = [(taken("ada"), taken("nobody")) for _ in range(15)]
    known, unknown = (statistics.median(one) for one in zip(*pairs, strict=True))
    assert 0.7 < known / unknown < 1.4


@pytest.mark.slow
def test_too_many_requests_are_429_with_a_time(address: str, services: Services, monkeypatch: Any) -> None:
    serve = services.config.serve
    slow = replace(serve, limits=replace(serve.limits, rate=0.1, burst=3))
    monkeypatch.setattr(services, "config", replace(services.config, serve=slow))
    with serving(services) as other, httpx.Client(base_url=other) as client:
        answers = [client.get("/livez") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 11
    assert answers[-1].json()["type"] == "urn:vultus:too-often"


def test_a_proxy_is_believed_only_if_it_is_named(admin: httpx.Client, services: Services, monkeypatch: Any) -> None:
    login = {"name": "ada", "password": PASSWORD}
    forwarded = {"X-Forwarded-For": "192.0.2.66, 203.0.113.9", "X-Forwarded-Proto": "https"}
    assert admin.post(SESSION, json=login, headers=forwarded).headers["set-cookie"].startswith("vultus=")
    behind = replace(services.config.serve, proxies=("127.0.0.0/8",))
    monkeypatch.setattr(services, "config", replace(services.config, serve=behind))
    with serving(services) as other, httpx.Client(base_url=other) as client:
        answer = client.post(SESSION, json=login, headers=forwarded)
        assert answer.headers["set-cookie"].startswith("__Host-vultus=")
    newest, before = services.accounts.trail.page(2)
    assert (newest.address, before.address) == ("203.0.113.9", "127.0.0.1")
