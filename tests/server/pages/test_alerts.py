"""Alerts in a real browser: rules put together and tried, webhooks with their dead letters, the broker."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Look
from playwright.sync_api import expect
from receiver import Receiver
from served import configured

from vultus.index import Sighting
from vultus.server.events.rules import UNKNOWN
from vultus.server.services import Services

pytestmark = pytest.mark.slow
OWN = {
    "serve.webhooks.networks.allowed": ["127.0.0.0/8"],
    "serve.mqtt.host": "127.0.0.1",
    "serve.mqtt.port": 1,
}


@pytest.fixture(scope="module")
def services(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """With a broker that is not there, and leave to tell this machine."""
    with Services(configured(tmp_path_factory.mktemp("alerts"), gallery, OWN)) as services:
        yield services


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_strangers_raise_an_alert_after_one_click(look: Look, services: Services) -> None:
    page = look("/alerts")
    page.get_by_role("button", name="Alert on unknown people").click()
    expect(page.locator("#told")).to_contain_text("Unknown person is switched on")
    expect(page.locator("#rules li").first).to_contain_text("Unknown people")
    number = services.gallery.unknowns.page(limit=1).items[0].id
    services.gallery.add_sighting(Sighting(run="r", source="yard", track=1, time=time.time(), identity=number))
    ends = time.monotonic() + 10
    while services.events.newest < 2 and time.monotonic() < ends:
        time.sleep(0.05)
    page.reload()
    expect(page.locator("section", has_text="Latest alerts").get_by_text("yard")).to_be_visible()
    rule = page.locator("#rules > li").first
    rule.get_by_role("button", name="Switch off").click()
    expect(page.locator("#told")).to_contain_text("switched off")
    assert [kept.rule.enabled for kept in services.rules.all()] == [False]


def test_a_rule_is_put_together_tried_changed_and_removed(look: Look, services: Services) -> None:
    services.gallery.add_sighting(Sighting(run="r", source="yard", track=2, time=time.time()))
    services.rules.add(UNKNOWN.model_copy(update={"title": "Yard", "sources": ("yard",)}))
    page = look("/alerts", 360, 700, color_scheme="dark")
    page.get_by_role("button", name="Add a rule").click()
    dialog = page.locator("#rule")
    dialog.locator("[name=title]").fill("At night")
    dialog.locator("[name=severity]").select_option("critical")
    dialog.locator("[name=who]").select_option("people")
    dialog.locator("#person").fill("Emmanuel Macron")
    page.keyboard.press("Enter")
    expect(dialog.locator("#chosen")).to_contain_text("Emmanuel Macron")
    dialog.get_by_label("yard").check()
    dialog.get_by_role("button", name="Only at certain hours").click()
    dialog.get_by_label("Sunday").uncheck()
    dialog.get_by_role("button", name="Draw an area").click()
    for key in ("Enter", "Shift+ArrowRight", "Enter", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    dialog.get_by_role("button", name="Try on the last 24 hours").click()
    expect(dialog.locator("#trial")).to_contain_text("0 match")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("#told")).to_contain_text("At night is kept")
    made = services.rules.titled("At night")
    assert made is not None
    assert made.rule.people == (services.gallery.identity("Emmanuel Macron").id,)
    assert (made.rule.sources, made.rule.hours[0].days) == (("yard",), (0, 1, 2, 3, 4, 5))
    assert made.rule.zone is not None
    assert len(made.rule.zone) == 3

    row = page.locator(f'[data-rule="{made.id}"]')
    row.get_by_role("button", name="Change").click()
    expect(dialog.locator("[name=title]")).to_have_value("At night")
    dialog.locator("[name=title]").fill("In the evening")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("#told")).to_contain_text("In the evening is kept")
    changed = services.rules.get(made.id).rule
    assert changed == made.rule.model_copy(update={"title": "In the evening"})
    row.get_by_role("button", name="Remove").click()
    row.get_by_role("button", name="Really remove").click()
    expect(page.locator("#told")).to_contain_text("In the evening is removed")
    assert services.rules.titled("In the evening") is None


def test_a_webhook_shows_its_secret_once_and_dead_letters_are_sent_again(
    look: Look, services: Services, receiver: Receiver
) -> None:
    page = look("/alerts")
    page.get_by_role("button", name="Add a webhook").click()
    form = page.locator("#add-hook")
    form.locator("[name=title]").fill("Door bell")
    form.locator("[name=url]").fill(receiver.url)
    form.get_by_label("Jobs").check()
    form.get_by_role("button", name="Add a webhook").click()
    expect(page.locator("#secret")).to_contain_text("whsec_")
    page.locator("#secret-made").get_by_role("button", name="Close").click()
    row = page.locator("[data-hook]")
    expect(row).to_contain_text("Door bell")
    expect(row).not_to_contain_text("hidden")
    row.get_by_role("button", name="Test").click()
    expect(page.locator("#told")).to_contain_text("took the test message")
    assert receiver.next()[1]["type"] == "ping"

    receiver.answers = [410]
    event = services.events.append("job", details={"job": 1})
    assert receiver.next()[1]["data"]["id"] == event
    (hook,) = services.webhooks.all()
    ends = time.monotonic() + 10
    while not services.webhooks.dead_count(hook.id) and time.monotonic() < ends:
        time.sleep(0.05)
    page.reload()
    row.get_by_role("button", name="Switch on").click()
    expect(page.locator("#told")).to_contain_text("Door bell is switched on")
    row.get_by_text("1 event was not delivered").click()
    row.get_by_role("button", name="Send again", exact=True).click()
    expect(page.locator("#told")).to_contain_text("1 event is sent again")
    assert receiver.next()[1]["data"]["id"] == event
    row.get_by_text("Last deliveries").click()
    expect(row.locator("[data-list=attempts] li").last).to_contain_text("test")
    page.reload()
    expect(row).not_to_contain_text("not delivered")


def test_a_broker_that_is_away_says_why(look: Look) -> None:
    page = look("/alerts", locale="de-DE")
    broker = page.locator("section", has_text="MQTT und Home Assistant")
    expect(broker).to_contain_text("nicht verbunden")
    expect(broker).to_contain_text("no connection")
    broker.get_by_text("Topics", exact=True).click()
    expect(broker).to_contain_text("vultus/alert")
