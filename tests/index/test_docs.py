"""The example of docs/gallery.md prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

from vultus.index import kinds, schema, snapshot

PAGE = (Path(__file__).parents[2] / "docs" / "gallery.md").read_text()


def test_the_example_prints_what_the_page_says(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "docs/gallery.md", "exec"), {})
    assert out.getvalue() == expected


def test_the_page_names_every_table_and_column():
    section = PAGE.split("### Tables")[1].split("###")[0]
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", schema.TABLES, re.DOTALL):
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{table}` |")]
        for column in re.findall(r"^    ([a-z_]+) ", body, re.MULTILINE):
            if column not in ("one", "box_y", "box_w"):
                assert column in row, (table, column)


def test_the_snapshot_table_is_the_one_of_the_code():
    def cells(text):
        return [re.findall(r"[0-9]+(?=[-–])", line) for line in text.splitlines() if re.match(r"\| [0-9]+[-–]", line)]

    assert cells(PAGE.split("### Snapshot")[1]) == cells(snapshot.__doc__)
    assert len(cells(snapshot.__doc__)) == 13


def test_the_page_names_every_kind_of_index():
    section = PAGE.split("## Kinds of index")[1].split("\n## ")[0]
    for kind in [*kinds.KINDS, kinds.AUTO]:
        assert f"`{kind}`" in section
    assert f"fewer than {kinds.FEWEST}" in section.replace("\n", " ")
    assert f"2^{kinds.MOST_FLAT.bit_length() - 1} numbers" in section
