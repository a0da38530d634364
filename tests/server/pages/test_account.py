"""Who sees which page, and the way in."""

from collections.abc import Iterator

import httpx
import pytest
from signing import add_users, cheap_hashes, signed_in

from vultus.server.services import Services


@pytest.fixture(scope="module", autouse=True)
def users(services: Services) -> Iterator[None]:
    """A user of each role."""
    with cheap_hashes():
        add_users(services)
        yield


@pytest.mark.parametrize("page", ["/", "/live", "/people", "/people/1", "/system", "/users", "/account"])
def test_who_is_not_signed_in_is_asked_to(client: httpx.Client, page: str) -> None:
    answer = client.get(page)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={page}")


def test_the_way_in_leads_on_to_what_was_asked_for(client: httpx.Client) -> None:
    answer = client.get("/people?q=%26a&order=newest", follow_redirects=True)
    assert 'data-next="/people?q=%26a&amp;order=newest"' in answer.text
    assert "<nav" not in answer.text


@pytest.mark.parametrize(
    ("role", "sees", "not_for_them"),
    [
        ("viewer", "live sightings search people unknowns calibration account", "archive cameras system users"),
        ("operator", "live people archive cameras system account", "users"),
        ("admin", "live people archive cameras system users account", ""),
    ],
)
def test_a_role_sees_its_pages(address: str, role: str, sees: str, not_for_them: str) -> None:
    with signed_in(address, role) as client:
        menu = client.get("/people").text
        for page in sees.split():
            assert client.get(f"/{page}").status_code == 200, page
            assert f'href="/{page}"' in menu, page
        for page in not_for_them.split():
            answer = client.get(f"/{page}")
            assert answer.status_code == 403, page
            assert "That did not work" in answer.text
            assert f'href="/{page}"' not in menu, page


def test_a_viewer_is_offered_nothing_that_changes(address: str) -> None:
    with signed_in(address, "viewer") as viewer, signed_in(address, "operator") as operator:
        for page, act in (("/people", "Add a person"), ("/people/1", "Rename"), ("/unknowns", "data-naming")):
            assert act in operator.get(page).text
            assert act not in viewer.get(page).text
