"""Styles and scripts: cached for ever under an address that goes with their content, and nothing else is there."""

import httpx
import pytest

from vultus.server.pages.static import address, files


@pytest.mark.parametrize("name", ["vultus.css", "page.js", "icons.svg", "texts.en.js"])
def test_a_file_may_be_kept_for_ever(client: httpx.Client, name: str) -> None:
    answer = client.get(address(name))
    assert answer.content == files()[name]
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
    again = client.get(address(name), headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_under_an_older_address_the_present_file_is_there_but_not_kept(client: httpx.Client) -> None:
    answer = client.get("/static/0123456789abcdef/vultus.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("name", ["..%2F..%2Fapp.py", "%2e%2e/app.py", "none.css", "vultus.css%00", ".."])
def test_nothing_else_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/static/x/{name}").status_code == 404


def test_every_script_is_imported_by_a_name_that_exists() -> None:
    for name, content in files().items():
        for line in content.decode().splitlines():
            if line.startswith("import "):
                assert line.split('"')[1].removeprefix("./") in files(), f"{name}: {line}"


def test_scripts_listen_when_a_page_is_loaded() -> None:
    """What is awaited at the outer level of a module begins after the page's `load`, and acts of people before it are lost."""
    for name, content in files().items():
        if name.endswith(".js"):
            outer = [line for line in content.decode().splitlines() if line and not line[0].isspace()]
            waiting = [line for line in outer if "await " in line and "async" not in line]
            assert not waiting, f"{name}: {waiting}"
