"""The README's Python runs, its commands exist, and its files are there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, registry: object, samples: tuple[Path, Any], tmp_path: Path) -> None:
    for photo in samples[0].glob("*.jpg"):
        (tmp_path / photo.name).symlink_to(photo)
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[number]], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("Emmanuel Macron 0.61" in done.stdout) or ("(8, 128)" in done.stdout), done.stdout


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z-]+)", README)) | set(re.findall(r"^    make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_it_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    paths = set(re.findall(r"`((?:docs|configs|weights|pipeline|stages|tests|index|native)/[\w./-]+)`", text))
    paths |= set(re.findall(r"\]\(((?!http)[^)]+)\)", text))
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]
