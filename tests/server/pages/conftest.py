"""A real browser over a real server, which complains of whatever the browser complains of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, FLAGS, Look
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Browser, address: str, tmp_path: Path) -> Iterator[Look]:
    """Opens a page at a path of the server, with a context of its own.

    Afterwards nothing may have been logged as an error, refused by the content security policy, or asked of another host, and
    what the page looked like at the end lies in the test's folder.
    """
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((address, address.replace("http", "ws"), "blob:", "data:")):
            complaints.append(f"asked for {request.url}")

    def said(message: ConsoleMessage) -> None:
        # A sighting that is corrected has another number from then on; its pictures are shown again under that.
        if message.type == "error" and "/shots/" not in message.location["url"]:
            complaints.append(f"{message.location['url']}: {message.text}")

    def opened(path: str, width: int = 1280, height: int = 800, **options: str) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, base_url=address, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("request", asked)
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", said)
        page.goto(path)
        return page

    yield opened
    for number, context in enumerate(contexts):
        context.pages[0].screenshot(path=tmp_path / f"{number}.png")
        context.close()
    assert not complaints
