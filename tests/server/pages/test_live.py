"""A camera from its address to a name over a live face, in a real browser over a real RTSP stream."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Look
from media import Walk, frames, portrait, write_video
from playwright.sync_api import expect
from rtsp import RtspServer, need_gstreamer
from served import configured

from vultus.server.services import Services

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rtsp(samples: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    """A camera before which somebody in the gallery and somebody who is not walk by, again and again."""
    need_gstreamer()
    walks = [
        Walk(portrait(samples[0] / "person_a_2.jpg", 220), (30, 60), (200, 90)),
        Walk(portrait(samples[0] / "person_b_2.jpg", 200), (380, 80), (300, 40)),
    ]
    clip = write_video(tmp_path_factory.mktemp("live") / "clip.mp4", frames(walks, 100))
    with RtspServer({"door": clip}, user="viewer", password="hunter2") as server:
        yield server


@pytest.fixture(scope="module")
def services(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services that may connect to this machine; Ardern is not in the gallery."""
    own = {"serve.cameras": {"networks": {"allowed": ["127.0.0.0/8"]}}}
    with Services(configured(tmp_path_factory.mktemp("served"), gallery, own)) as services:
        services.gallery.remove_identity("Jacinda Ardern")
        yield services


def test_a_camera_is_added_seen_and_a_live_sighting_named(look: Look, rtsp: RtspServer, services: Services) -> None:
    page = look("/live")
    page.get_by_role("link", name="Add a camera").click()
    page.locator("#add input[name=address]").fill(rtsp.url("door"))
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#tested")).to_contain_text("It works", timeout=20_000)
    expect(page.locator("#picture img")).to_be_visible()
    page.locator("#add input[name=name]").fill("front door")
    page.locator("#add").get_by_role("button", name="Add a camera").click()

    expect(page).to_have_url("/live")
    tile = page.locator(".tile")
    expect(tile.locator(".away")).to_be_hidden(timeout=60_000)
    bright = (
        "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return d.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0) / d.length; }"
    )
    assert tile.locator("canvas").evaluate(bright) > 10
    expect(page.locator("#seen")).to_contain_text("Emmanuel Macron", timeout=60_000)
    tile.click()
    expect(page.get_by_role("button", name="All cameras")).to_be_visible()
    page.keyboard.press("Escape")

    page.goto("/sightings?who=unknown")
    card = page.locator(".sighting").first
    expect(card).to_contain_text("front door", timeout=60_000)
    card.get_by_role("button", name="This is").click()
    page.locator("#naming input[name=name]").fill("Jacinda Ardern")
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("This is Jacinda Ardern")
    assert services.gallery.identity("Jacinda Ardern").faces >= 1


def test_areas_are_drawn_by_pointer_and_by_keyboard(look: Look, services: Services) -> None:
    (camera,) = services.cameras.all()
    page = look(f"/cameras/{camera.id}")
    expect(page.locator("#unseen")).to_be_hidden(timeout=20_000)
    page.get_by_role("button", name="Blackened area").click()
    box = page.locator("#drawing svg").bounding_box()
    assert box is not None
    for x, y in ((0.1, 0.1), (0.3, 0.1), (0.3, 0.4), (0.1, 0.1)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.get_by_role("button", name="Calm area").click()
    for key in (
        "Enter",
        "Shift+ArrowRight",
        "Shift+ArrowRight",
        "Enter",
        "Shift+ArrowDown",
        "Shift+ArrowDown",
        "Enter",
    ):
        page.keyboard.press(key)
    page.get_by_role("button", name="Done with this area").click()
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator("#told")).to_contain_text("front door is saved")
    view = services.cameras.get(camera.id).view
    ((zone,), (mask,)) = view.zones, view.masks
    assert zone[0] == pytest.approx((0.1, 0.1), abs=0.01)
    assert len(zone) == len(mask) == 3
    assert mask[0] == pytest.approx((0.3, 0.4), abs=0.6)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#told")).to_contain_text("front door is paused")
