"""From an empty gallery to the first name and the first job, in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Look
from playwright.sync_api import expect

from vultus.configs.loader import load
from vultus.server.services import Services

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def services(samples: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services over nothing yet, with a folder of two photos and a file that is none."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "photos").mkdir()
    for name in ("person_a_2.jpg", "person_b_2.jpg"):
        shutil.copy(samples[0] / name, folder / "photos")
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    own = {"gallery": str(folder / "gallery"), "serve.folder": str(folder / "server"), "serve.listen": "127.0.0.1:0"}
    with Services(load(None, own | {"serve.archives.folders": [str(folder / "photos")]})) as services:
        yield services


def test_the_first_name_is_three_acts_away(look: Look, samples: tuple[Path, Any], services: Services) -> None:
    page = look("/")
    expect(page).to_have_url("/start")
    page.set_input_files("#files", [samples[0] / "person_a_1.jpg", samples[0] / "person_b_1.jpg"])
    expect(page.locator("#faces li")).to_have_count(2)
    expect(page.locator("#faces input").first).to_be_focused()
    page.keyboard.type("Emmanuel Macron")
    page.keyboard.press("Enter")
    expect(page.locator("#faces .tag").first).to_have_text("Emmanuel Macron")
    expect(page.locator("#faces input").nth(1)).to_be_focused()
    page.goto("/")
    expect(page).to_have_url("/people")
    expect(page.locator(".person")).to_contain_text("Emmanuel Macron")
    assert services.gallery.identity("Emmanuel Macron").faces == 1


def test_a_folder_is_indexed_and_what_was_refused_has_its_reason(look: Look) -> None:
    page = look("/archive")
    page.locator("#folders button").first.click()
    expect(page.locator("#chosen")).to_contain_text("photos: 3")
    page.get_by_role("button", name="Index this folder").click()
    expect(page.locator(".job .tag")).to_have_text("done", timeout=60_000)
    page.locator(".job summary").click()
    expect(page.locator(".job li")).to_contain_text("broken.jpg")


@pytest.mark.parametrize("page_of", ["people", "sightings", "unknowns", "archive", "users"])
def test_what_is_empty_says_what_to_do(look: Look, page_of: str) -> None:
    page = look(f"/{page_of}", 360, 700)
    expect(page.locator("main a.button, main button").first).to_be_visible()


def test_the_first_user_ends_the_openness(look: Look) -> None:
    page = look("/users")
    page.get_by_role("button", name="Make the first user").click()
    page.locator("#add-user input[name=name]").fill("ada")
    page.locator("#add-user input[name=password]").fill("seven violet kettles sing")
    page.keyboard.press("Enter")
    expect(page).to_have_url("/sign-in?next=/users")
    page.locator("input[name=name]").fill("ada")
    page.locator("input[name=password]").fill("seven violet kettles sing")
    page.keyboard.press("Enter")
    expect(page.locator("#users li")).to_contain_text("ada")
    page.get_by_role("button", name="Add a key").click()
    page.locator("#add-key input[name=name]").fill("backup script")
    page.get_by_label("System").check()
    page.keyboard.press("Enter")
    expect(page.locator("#key")).to_contain_text("vk_")
    page.locator("#key-done").click()
    page.goto("/account")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page).to_have_url("/sign-in")
    page.goto("/people")
    expect(page).to_have_url("/sign-in?next=/people")
