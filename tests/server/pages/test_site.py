"""What all pages share: language, theme, errors in words."""

import re

import httpx
import pytest

DAILY = ["start", "sightings", "search", "people", "people/1", "unknowns"]
PAGES = [*DAILY, "live", "cameras", "alerts", "archive", "calibration", "system", "users", "account"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_and_its_own(client: httpx.Client, page: str) -> None:
    answer = client.get(f"/{page}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert '<html lang="en"' in answer.text
    assert answer.text.rstrip().endswith("</html>")
    assert not re.findall(r'(?:src|href|action)="(?!/|\?|#|")', answer.text)
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", answer.text)


def test_the_start_leads_to_what_there_is(client: httpx.Client) -> None:
    assert client.get("/").headers["location"] == "/people"


def test_language_and_theme_are_the_visitors(client: httpx.Client) -> None:
    german = client.get("/start", headers={"Accept-Language": "de-DE,en;q=0.3"})
    assert '<html lang="de"' in german.text
    dark = client.get("/start", headers={"Cookie": "theme=dark; lang=en; zone=Europe/Berlin"})
    assert 'data-zone="Europe/Berlin" data-theme="dark"' in dark.text


@pytest.mark.parametrize("cookie", ["theme=x' onload=1", "zone=../../etc/passwd", "zone=", "lang=../x", "zone=%00"])
def test_hostile_cookies_change_nothing(client: httpx.Client, cookie: str) -> None:
    answer = client.get("/start", headers={"Cookie": cookie})
    assert answer.status_code == 200
    assert '<html lang="en" data-zone="UTC">' in answer.text


@pytest.mark.parametrize("onward", ["//other.example/", "/\\other.example", "https://other.example", "javascript:0"])
def test_signing_in_leads_nowhere_else(client: httpx.Client, onward: str) -> None:
    assert client.get("/sign-in", params={"next": onward}).headers["location"] == "/"


@pytest.mark.parametrize("path", ["/foo", "/favicon.ico", "/static/x/none.css"])
def test_a_browser_is_told_in_words_that_nothing_is_there(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing here" in answer.text
    assert '<a class="button" href="/">' in answer.text
    for asked in (client.get(path), client.get(f"/api/v1{path}", headers={"Accept": "text/html"})):
        assert (asked.status_code, asked.headers["content-type"]) == (404, "application/problem+json")
