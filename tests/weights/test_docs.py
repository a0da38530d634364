"""The examples of the documentation run, and its table is the manifest's."""

import re
from pathlib import Path

import pytest

from vultus.weights.manifest import shipped

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["models.md", "configuration.md"])
def test_examples_run(page, registry, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})


def test_the_table_of_models():
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    table = text.split("\n## ")[0]
    for name, entry in shipped().models.items():
        (row,) = re.findall(rf"^\| [^|]*`{name}`.*$", table, re.MULTILINE)
        assert f"| {entry.licence} | {'yes' if entry.commercial else 'no'} |" in row
        assert entry.threshold is None or f"| {entry.threshold} |" in row
        assert entry.dim is None or f"{entry.dim} numbers" in row
    fingerprint = shipped().entry("sface_2021dec").runtime.sha256[:12]
    assert f"`sface_2021dec-{fingerprint}`" in text
