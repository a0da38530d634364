"""The pages in a real browser: what people do there, by pointer and by keyboard, wide and narrow, light and dark."""

import re
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
from browsing import Look
from playwright.sync_api import Page, expect

from vultus.index import FaceRecord, Shot, Sighting
from vultus.server.services import Services

pytestmark = pytest.mark.slow
EVERYWHERE = [
    "start",
    "sightings",
    "search",
    "people",
    "unknowns",
    "alerts",
    "archive",
    "calibration",
    "system",
    "users",
    "account",
]


@pytest.fixture(scope="module")
def photos(samples: tuple[Path, Any]) -> Path:
    """The folder of sample photographs."""
    return samples[0]


def somebody(services: Services) -> int:
    """A person whom no test takes away; numbers depend on which photograph was stored first."""
    return services.gallery.identity("Emmanuel Macron").id


def test_a_photo_finds_its_person(look: Look, photos: Path) -> None:
    page = look("/search")
    page.set_input_files("#file", photos / "person_a_2.jpg")
    expect(page.locator("#verdict")).to_have_text("This is Emmanuel Macron")
    expect(page.locator(".candidate").first).to_contain_text("match")
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.select_option("select[name=k]", "1")
    expect(page.locator(".candidate")).to_have_count(1)


def test_a_photo_may_be_dropped(look: Look, photos: Path) -> None:
    page = look("/search")
    data = page.evaluate_handle(
        "bytes => { const held = new DataTransfer(); const file = new Uint8Array(bytes);"
        " held.items.add(new File([file], 'a.jpg', {type: 'image/jpeg'})); return held; }",
        list((photos / "person_b_2.jpg").read_bytes()),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    expect(page.locator("#verdict")).to_have_text("This is Jacinda Ardern")


def test_two_people_become_one_and_two_again(look: Look, services: Services) -> None:
    page = look("/people")
    cards = page.locator("#people .person")
    before = cards.count()
    page.get_by_label("Choose Emmanuel Macron").check()
    expect(page.locator("#merge")).to_be_disabled()
    page.get_by_label("Choose Jacinda Ardern").check()
    page.locator("#merge").click()
    page.locator("#merging").get_by_label("Jacinda Ardern").check()
    page.locator("#merging").get_by_role("button", name="Merge").click()
    expect(page.locator("#told")).to_contain_text("one person now: Jacinda Ardern")
    expect(cards).to_have_count(before - 1)
    page.locator("#undo").click()
    expect(page.locator("#told")).to_contain_text("Undone")
    expect(cards).to_have_count(before)


def test_an_unknown_person_gets_a_name_by_keyboard_alone(look: Look) -> None:
    page = look("/unknowns")
    rows = page.locator(".unknown")
    before = rows.count()
    assert before > 1
    page.keyboard.press("j")
    page.keyboard.type("Ada Lovelace")
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("This is Ada Lovelace")
    expect(rows).to_have_count(before - 1)
    assert page.evaluate("document.activeElement.name") == "name"
    page.goto("/people?q=lovelace")
    expect(page.locator(".person")).to_have_count(1)


def test_known_names_are_proposed(look: Look) -> None:
    page = look("/unknowns")
    field = page.locator(".unknown input[name=name]").first
    field.press_sequentially("maCR")
    option = page.locator("[role=listbox] [role=option]")
    expect(option).to_have_text("Emmanuel Macron")
    field.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", re.compile("names-"))
    field.press("Enter")
    expect(field).to_have_value("Emmanuel Macron")
    expect(option).to_be_hidden()


def test_one_click_says_who_a_sighting_is_of(look: Look, services: Services, photos: Path) -> None:
    (found,) = services.faces.find(services.faces.read((photos / "person_b_2.jpg").read_bytes()))
    chip = cv2.imencode(".jpg", found.chip)[1].tobytes()
    sighting = Sighting(run="r", source="front door", track=1, time=time.time(), quality=found.quality)
    services.gallery.add_sighting(sighting, [Shot(jpeg=chip, time=time.time(), quality=found.quality)])
    page = look("/sightings")
    page.get_by_role("button", name="This is").first.click()
    expect(page.locator("#shots img")).to_have_count(1)
    page.locator("#naming input[name=name]").fill("Grace Hopper")
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("This is Grace Hopper")
    assert services.gallery.identity("Grace Hopper").faces == 1


def test_a_new_sighting_appears_by_itself(look: Look, services: Services) -> None:
    page = look("/sightings?who=known")
    expect(page.locator("#following")).to_be_visible()
    macron = somebody(services)
    services.gallery.add_sighting(
        Sighting(run="r", source="garage", track=9, time=time.time(), identity=macron, similarity=0.6)
    )
    expect(page.locator(".sighting.fresh")).to_contain_text("Emmanuel Macron")
    expect(page.locator(".sighting.fresh")).to_contain_text("garage")


def test_the_keyboard_reaches_everything(look: Look, services: Services) -> None:
    page = look("/people")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Add a person"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open] input[name=name]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.get_by_role("button", name="Add a person")).to_be_focused()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('href') ?? document.activeElement.id"))
    assert {"/live", "/search", "/system", f"/people/{somebody(services)}", "language"} <= reached


def test_a_face_of_somebody_else_is_split_off_and_brought_back(look: Look, services: Services, photos: Path) -> None:
    (found,) = services.faces.find(services.faces.read((photos / "person_b_2.jpg").read_bytes()))
    chip = cv2.imencode(".jpg", found.chip)[1].tobytes()
    macron = services.gallery.enrol("Emmanuel Macron", [found.vector], [FaceRecord(source="wrong.jpg", chip=chip)])
    page = look(f"/people/{macron}?order=newest")
    page.get_by_label("Choose the face from wrong.jpg").check()
    page.get_by_role("button", name="Split off").click()
    page.locator("#split input[name=name]").fill("Katherine Johnson")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Katherine Johnson")
    page.locator("#undo").click()
    expect(page).to_have_url(f"/people/{macron}")
    expect(page.locator("#faces li")).to_have_count(2)


@pytest.mark.parametrize(
    ("locale", "more", "entry"), [("en-GB", "More", "Calibration"), ("de-DE", "Mehr", "Kalibrierung")]
)
def test_no_page_is_wider_than_a_phone(look: Look, services: Services, locale: str, more: str, entry: str) -> None:
    person = f"people/{somebody(services)}"
    page = look(f"/{person}", 360, 700, locale=locale)
    for path in (*EVERYWHERE, person):
        page.goto(f"/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.get_by_role("button", name=more).click()
    expect(page.get_by_role("link", name=entry)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(look: Look, scheme: str) -> None:
    page = look("/people", color_scheme=scheme)
    pairs = [(text, ground) for text in ("text", "quiet", "accent") for ground in ("ground", "surface", "raised")]
    pairs += [(tone, f"{tone}-tint") for tone in ("good", "unsure", "bad")]
    pairs += [("on-accent", "accent"), ("accent", "tint"), ("quiet", "sunken")]
    for text, ground in pairs:
        assert contrast(page, text, ground) >= 4.5, f"{text} on {ground}"


def contrast(page: Page, text: str, ground: str) -> float:
    """Of two named colours, as WCAG 2 has it."""

    def luminance(name: str) -> float:
        shown = page.evaluate(
            "name => { const e = document.createElement('i'); e.style.color = `var(--${name})`; document.body.append(e);"
            " const c = getComputedStyle(e).color; e.remove(); return c; }",
            name,
        )
        parts = [int(one) / 255 for one in re.findall(r"\d+", shown)[:3]]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(text), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_the_theme_and_the_language_stay(look: Look) -> None:
    page = look("/people", color_scheme="light")
    page.get_by_role("button", name="Light or dark").click()
    page.select_option("#language", "de")
    expect(page.locator("h1")).to_contain_text("Personen")
    page.goto("/search")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("h1")).to_have_text("Suche")
