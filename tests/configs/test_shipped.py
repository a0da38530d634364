"""The files that ship say what the schema says."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from vultus.configs import Config, load, shipped
from vultus.configs.keys import paths

ROOT = Path(__file__).parents[2]
EXAMPLES = ["one-camera", "several-cameras", "archive", "two-machines"]


def flat(tree, path=""):
    """Every key with its path, lists as `[]`."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            where = f"{path}.{key}" if path else key
            yield where
            yield from flat(value, where)
    elif isinstance(tree, list):
        for item in tree:
            yield from flat(item, f"{path}[]")


def test_the_default_file_is_the_defaults_of_the_schema(tmp_path):
    path = tmp_path / "default.yaml"
    path.write_text(shipped("default"), encoding="utf-8")
    assert load(path) == Config()
    shown = set(flat(yaml.safe_load(shipped("default"))))
    # Of sources in a comment, since there are none by default.
    shown |= {f"sources[].{key}" for key in re.findall(r"^# +(?:- )?(\w+):", shipped("default"), re.MULTILINE)}
    shown |= {
        f"network.hosts[].{key}" for key in re.findall(r"^  # +(?:- )?(name|key):", shipped("default"), re.MULTILINE)
    }
    shown.discard("sources[].sources")
    assert shown == set(paths()), "default.yaml leaves out a key, or names one that is none"
    assert re.search(r"^# sources:\n#   - name: .*\n#     address: ", shipped("default"), re.MULTILINE)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_load_and_differ_from_the_defaults(name, tmp_path, monkeypatch):
    text = shipped(name)
    for variable in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(variable, "p@ss")
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    config = load(path)
    assert config != Config()
    assert config.sources or name == "archive"
    assert "vultus " in text.split("\n\n")[0], "an example starts with the command that uses it"


def test_all_examples_are_tested():
    assert sorted(path.name for path in (files("vultus.configs") / "examples").iterdir()) == sorted(
        f"{name}.yaml" for name in EXAMPLES
    )


def test_every_key_is_documented():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    leaves = [path for path in paths() if not any(other.startswith((f"{path}.", f"{path}[]")) for other in paths())]
    # The keys of a group are the same for both jobs.
    shown = [path.rpartition("[].")[2] if path.startswith("pipeline.") else path for path in leaves]
    assert not [path for path in shown if f"`{path}`" not in text]
    assert set(re.findall(r"^\| `([a-z_.\[\]]+)`", text, re.MULTILINE)) <= {*shown, "pipeline.watch"}
