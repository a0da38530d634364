"""People and sightings as pages: what stands on them, and that names are never markup."""

import html
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from vultus.index import FaceRecord, Sighting
from vultus.server.services import Services

HOSTILE = """<img src=x onerror=alert(1)>'"&{{ 7 * 7 }}"""


@pytest.fixture(scope="module")
def hostile(services: Services) -> Iterator[int]:
    """Somebody whose name and source want to be more than text; seen a minute ago."""
    vector = np.random.default_rng(5).standard_normal(128)
    number = services.gallery.enrol(HOSTILE, [vector], [FaceRecord(source=HOSTILE)])
    services.gallery.add_sighting(Sighting(run="r", source=HOSTILE, track=1, time=time.time() - 60, identity=number))
    yield number
    services.gallery.remove_identity(number)


@pytest.mark.parametrize("page", ["people", "people/{}", "sightings", "sightings?person={}", "search"])
def test_a_name_is_text(client: httpx.Client, hostile: int, page: str) -> None:
    answer = client.get("/" + page.format(hostile))
    assert answer.status_code == 200
    assert "<img src=x" not in answer.text
    assert HOSTILE not in answer.text
    assert page == "search" or html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in answer.text


def test_people_are_found_by_a_part_of_the_name(client: httpx.Client) -> None:
    answer = client.get("/people", params={"q": "macron"})
    assert "Emmanuel Macron" in answer.text
    assert "Jacinda Ardern" not in answer.text
    assert "Nobody is called like that" in client.get("/people", params={"q": "zzz"}).text


@pytest.mark.parametrize(
    "page", ["/people/999999", "/people/0", "/people/x", "/people/99999999999999999999", "/sightings?person=999999"]
)
def test_what_is_not_there_is_said_in_words(client: httpx.Client, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


@pytest.mark.parametrize("page", ["people", "unknowns", "sightings", "system", "people/1"])
def test_a_made_up_cursor_is_refused_in_words(client: httpx.Client, page: str) -> None:
    answer = client.get(f"/{page}", params={"cursor": "bm90aGluZw"})
    assert answer.status_code == 422
    assert "That did not work" in answer.text


def test_sightings_stand_under_the_visitors_day(client: httpx.Client, hostile: int, services: Services) -> None:
    at = 1_750_000_000.0  # 2025-06-15 15:06:40 UTC, the next day in Kiritimati
    services.gallery.add_sighting(Sighting(run="r", source="door", track=2, time=at, identity=hostile))
    utc = client.get("/sightings", params={"day": "2025-06-15"}).text
    assert "15:06:40" in utc
    far = client.get("/sightings", params={"day": "2025-06-16"}, headers={"Cookie": "zone=Pacific/Kiritimati"}).text
    assert "05:06:40" in far
    assert "15:06:40" not in client.get("/sightings", params={"day": "2025-06-16"}).text


def test_filters_of_sightings_hold(client: httpx.Client, hostile: int) -> None:
    assert 'data-sighting="' in client.get("/sightings?who=known").text
    assert 'data-sighting="' not in client.get("/sightings?who=unknown").text
    assert 'data-sighting="' not in client.get("/sightings?source=elsewhere").text
    assert client.get("/sightings?day=2025-99-99").status_code == 404
