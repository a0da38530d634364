"""The tests that docs/security.md names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(\w[\w/]*\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    missing = [
        name for name in named if f"def {name[1]}(" not in (ROOT / "tests" / name[0]).read_text(encoding="utf-8")
    ]
    assert not missing
