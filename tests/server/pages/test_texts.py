"""Languages: all have the same sentences, templates and scripts use those that there are, and have none of their own."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vultus.server.pages import static, texts

TEMPLATES = Path(texts.__file__).parent / "templates"
TOLD = ("title", "alt", "aria-label", "placeholder")


def sentences(entries: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Every sentence of a language by its dotted key."""
    for key, value in entries.items():
        if isinstance(value, str):
            yield f"{before}{key}", value
        else:
            yield from sentences(value, f"{before}{key}.")


@pytest.mark.parametrize("code", sorted(texts.languages()))
def test_a_language_has_the_keys_and_the_values_to_fill_in_of_all_others(code: str) -> None:
    english, other = (dict(sentences(texts.languages()[one].entries)) for one in ("en", code))
    assert sorted(english) == sorted(other)
    for key, sentence in other.items():
        assert sentence.strip(), key
        assert set(re.findall(r"\{\w+\}", sentence)) - {"{n}"} == set(re.findall(r"\{\w+\}", english[key])) - {"{n}"}, (
            key
        )


def test_what_the_pages_say_is_there_and_nothing_else() -> None:
    tables = dict(sentences(texts.languages()["en"].entries))
    there = {key.removesuffix(".one").removesuffix(".other") for key in tables}
    used, begun = set(), set()
    for path in (*TEMPLATES.glob("*.html"), *static.FOLDER.glob("*.js")):
        content = path.read_text()
        used |= set(re.findall(r'"([a-z_]+(?:\.[a-z_0-9]+)+)"', content)) & there
        asked = set(re.findall(r'\bt\("([\w.]+)"(?! ~)', content))
        assert not asked - there, path.name
        begun |= set(re.findall(r't\("([\w.]+)" ~', content)) | set(re.findall(r"t\(`([\w.]+)\$\{", content))
    idle = {key for key in there - used if not key.startswith(tuple(begun))}
    assert idle == {"language"}


class Literal(HTMLParser):
    """Collects the words of a template that no expression wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in TOLD and "://" not in (value or "")]


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.stem)
def test_a_template_has_no_words_of_its_own(path: Path) -> None:
    reader = Literal()
    reader.feed(re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<code.*?</code>", "", path.read_text(), flags=re.DOTALL))
    words = {word for text in reader.found for word in re.findall(r"[^\W\d_]{2,}", text)}
    assert words <= {"vultus", "TCP", "UDP"}


@pytest.mark.parametrize(
    ("setting", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.5", "de"),
        (None, "en;q=0.5, de;q=0.9", "de"),
        (None, "xx, de;q=x, *;q=0.1", "en"),
        ("en", "de", "en"),
        ("../de", "de", "de"),
    ],
)
def test_the_setting_goes_before_the_browser(setting: str | None, accepted: str, code: str) -> None:
    assert texts.chosen(setting, accepted).code == code


def test_a_number_chooses_the_sentence() -> None:
    english = texts.languages()["en"]
    assert (english("common.faces", n=1), english("common.faces", n=2)) == ("1 face", "2 faces")
