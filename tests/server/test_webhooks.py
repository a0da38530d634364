"""Webhooks: signed, in order, retried, kept over a restart, and never let into this machine."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from receiver import Receiver
from served import configured

from vultus.configs.loader import load, server_folder
from vultus.configs.schema import Config
from vultus.index.gallery import Gallery
from vultus.server.events.courier import Courier
from vultus.server.events.feed import Feed
from vultus.server.events.log import EventLog
from vultus.server.events.signing import signed
from vultus.server.events.webhooks import Webhooks, log_name
from vultus.server.services import Services
from vultus.server.store import Store
from vultus.server.vault import Vault

DOCS = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


OWN = {
    "serve.webhooks.networks.allowed": ["127.0.0.0/8"],
    "serve.webhooks.retry_first": 0.05,
    "serve.webhooks.retry_max": 0.1,
    "serve.webhooks.timeout": 5.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hooked")


@pytest.fixture(scope="module")
def services(gallery: Path, folder: Path) -> Iterator[Services]:
    with Services(configured(folder, gallery, OWN)) as services:
        yield services


@pytest.fixture
def hook(client: httpx.Client, receiver: Receiver) -> Iterator[dict[str, Any]]:
    """A webhook that is told of jobs."""
    answer = client.post("/api/v1/webhooks", json={"title": "t", "url": receiver.url, "kinds": ["job"]})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    client.delete(f"/api/v1/webhooks/{answer.json()['id']}")


def until(client: httpx.Client, hook: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """Look at a webhook until it is like this."""
    ends = time.monotonic() + 15
    while True:
        now: dict[str, Any] = client.get(f"/api/v1/webhooks/{hook['id']}").raise_for_status().json()
        if all(now[name] == value for name, value in wanted.items()):
            return now
        assert time.monotonic() < ends, now
        time.sleep(0.02)


def dead(client: httpx.Client, hook: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"/api/v1/webhooks/{hook['id']}/dead").json()["items"]
    return items


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of standardwebhooks.com's own libraries."""
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_events_come_signed_and_in_order(
    client: httpx.Client, services: Services, receiver: Receiver, hook: dict[str, Any]
) -> None:
    services.events.append("camera", source="not wanted")
    numbers = [services.events.append("job", details={"n": n}) for n in range(5)]
    got = [receiver.next() for _ in numbers]
    assert [body["data"]["id"] for _, body in got] == numbers
    headers, body = got[0]
    assert body["type"] == "job"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert headers["webhook-id"].endswith(f"_{numbers[0]}")
    until(client, hook, waiting=0, failures=0)


def test_a_receiver_can_verify_as_the_documentation_says(
    client: httpx.Client, receiver: Receiver, hook: dict[str, Any]
) -> None:
    (example,) = re.findall(r"```python\n(import base64.*?)```", DOCS.read_text(), re.DOTALL)
    told: dict[str, Any] = {}
    exec(compile(example, str(DOCS), "exec"), told)
    pinged = client.post(f"/api/v1/webhooks/{hook['id']}/ping").json()
    assert pinged == {"delivered": True, "status": 200, "reason": "200 OK"}
    headers, raw = receiver.got.get(timeout=5)
    headers = {name.lower(): value for name, value in headers.items()}
    assert json.loads(raw)["type"] == "ping"
    assert told["verified"](hook["secret"], headers, raw)
    assert not told["verified"](hook["secret"], headers, raw + b" ")
    old = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
    assert not told["verified"](hook["secret"], old, raw)


def test_secrets_and_tokens_are_not_shown_again(client: httpx.Client, receiver: Receiver, hook: dict[str, Any]) -> None:
    shown = client.get(f"/api/v1/webhooks/{hook['id']}")
    assert "secret" not in shown.json()
    assert "hidden" not in shown.text
    same = client.patch(f"/api/v1/webhooks/{hook['id']}", json={"url": shown.json()["url"]})
    assert same.status_code == 200
    assert client.post(f"/api/v1/webhooks/{hook['id']}/ping").json()["delivered"]
    other = client.post(f"/api/v1/webhooks/{hook['id']}/secret").json()["secret"]
    assert other.startswith("whsec_")
    assert other != hook["secret"]


def test_a_receiver_that_is_away_gets_everything_in_order_when_it_is_back(
    client: httpx.Client, services: Services, receiver: Receiver, hook: dict[str, Any]
) -> None:
    receiver.answers = [503, 503, 429]
    numbers = [services.events.append("job") for _ in range(3)]
    got = [receiver.next() for _ in range(6)]
    assert [body["data"]["id"] for _, body in got] == [numbers[0]] * 4 + numbers[1:]
    assert len({headers["webhook-id"] for headers, _ in got[:4]}) == 1
    assert dead(client, hook) == []


@pytest.mark.slow
def test_what_is_refused_becomes_a_dead_letter_and_can_be_redelivered(
    client: httpx.Client, services: Services, receiver: Receiver, hook: dict[str, Any]
) -> None:
    receiver.answers = [500] * 7 + [302]
    refused = services.events.append("job")
    fine = services.events.append("job")
    got = [receiver.next()[1]["data"]["id"] for _ in range(9)]
    assert got == [refused] * 8 + [fine]
    (letter,) = dead(client, hook)
    assert (letter["event"], letter["attempts"], letter["reason"]) == (refused, 8, "302 Found")
    assert client.post(f"/api/v1/webhooks/{hook['id']}/dead/redeliver", json={}).json() == {"count": 1}
    assert receiver.next()[1]["data"]["id"] == refused
    ends = time.monotonic() + 10
    while dead(client, hook) and time.monotonic() < ends:
        time.sleep(0.02)
    assert dead(client, hook) == []


def test_gone_switches_it_off(
    client: httpx.Client, services: Services, receiver: Receiver, hook: dict[str, Any]
) -> None:
    receiver.answers = [410]
    number = services.events.append("job")
    until(client, hook, enabled=False)
    assert dead(client, hook)[0]["event"] == number
    services.events.append("job")
    assert client.patch(f"/api/v1/webhooks/{hook['id']}", json={"enabled": True}).json()["waiting"] == 0


@contextmanager
def couriers(config: Config, gallery: Gallery) -> Iterator[tuple[EventLog, Webhooks]]:
    """The part of the services that delivers, with a store of its own."""
    with ExitStack() as opening:
        store = Store(server_folder(config))
        opening.callback(store.close)
        log = EventLog(store, config.serve.events)
        webhooks = Webhooks(store, Vault.open(config, store), log, config.serve.webhooks)
        feed = Feed(gallery, log)
        courier = Courier(feed, webhooks, config.serve.webhooks, log_name(store))
        for part in (feed, courier):
            opening.callback(part.close)
            part.open()
        yield log, webhooks


def test_what_waits_survives_a_restart(services: Services, tmp_path: Path, receiver: Receiver) -> None:
    config = load(None, OWN | {"serve.folder": str(tmp_path / "own"), "serve.webhooks.retry_first": 3600.0})
    receiver.answers = [503]
    with couriers(config, services.gallery) as (log, webhooks):
        webhooks.add("t", receiver.url, ("job",), (), enabled=True)
        numbers = [log.append("job"), log.append("job")]
        assert receiver.next()[1]["data"]["id"] == numbers[0]
    with couriers(config, services.gallery) as (log, webhooks):
        (webhook,) = webhooks.all()
        assert webhooks.waiting(webhook) == 2
        webhooks.change(webhook.id, title=None, url=None, wanted=None, enabled=None)
        log.announce()
        assert [receiver.next()[1]["data"]["id"] for _ in numbers] == numbers


def test_what_waited_for_too_long_is_a_dead_letter(services: Services, receiver: Receiver) -> None:
    number, _ = services.webhooks.add("slow", "http://127.0.0.1:9/", ("unknown",), (), enabled=True)
    with services.store.write() as connection:
        connection.execute("UPDATE webhooks SET due = 1e12 WHERE id = ?", (number,))
    waited = [services.events.append("unknown") for _ in range(3)]
    with services.store.write() as connection:
        connection.execute("UPDATE events SET written = 0 WHERE id IN (?, ?)", waited[:2])
        connection.execute("UPDATE webhooks SET due = 0 WHERE id = ?", (number,))
    services.courier.wake()
    ends = time.monotonic() + 10
    while not (letters := services.webhooks.dead(number, 10, None)) and time.monotonic() < ends:
        time.sleep(0.02)
    assert [(one.event, one.attempts) for one in letters] == [(waited[1], 0), (waited[0], 1)]
    assert services.webhooks.waiting(services.webhooks.get(number)) == 1
    services.webhooks.remove(number)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "ftp://192.0.2.1/",
        "https:///nowhere",
        "http://192.0.2.1:0/",
        "http://exa mple/",
    ],
)
def test_addresses_that_no_webhook_may_have(client: httpx.Client, url: str) -> None:
    answer = client.post("/api/v1/webhooks", json={"title": "x", "url": url})
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "urn:vultus:address-refused"


def test_wrong_requests(client: httpx.Client, hook: dict[str, Any]) -> None:
    url = "https://192.0.2.1/"
    assert client.post("/api/v1/webhooks", json={"title": "t", "url": url}).status_code == 409
    assert client.post("/api/v1/webhooks", json={"title": "u", "url": url, "kinds": ["nonsense"]}).status_code == 422
    for path in ("", "/dead"):
        assert client.get(f"/api/v1/webhooks/999{path}").status_code == 404
    for path in ("/ping", "/secret"):
        assert client.post(f"/api/v1/webhooks/999{path}").status_code == 404
    assert client.get(f"/api/v1/webhooks/{hook['id']}/dead", params={"cursor": "x"}).status_code == 422


def test_the_last_attempts_are_listed(client: httpx.Client, services: Services, hook: dict[str, Any]) -> None:
    number = services.events.append("job", details={"job": 8})
    until(client, hook, waiting=0, failures=0)
    assert client.post(f"/api/v1/webhooks/{hook['id']}/ping").json()["delivered"]
    listed = client.get(f"/api/v1/webhooks/{hook['id']}/attempts").json()["items"]
    assert [(one["event"], one["delivered"], one["status"]) for one in listed] == [
        (None, True, 200),
        (number, True, 200),
    ]
    assert client.get("/api/v1/webhooks/999/attempts").status_code == 404
